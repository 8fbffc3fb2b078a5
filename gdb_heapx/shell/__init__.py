"""The shell command: it asks a gdb of its own."""
