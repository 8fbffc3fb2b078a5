"""The edge to gdb: the only rooms that import it."""
