"""Malloc caught as it gets memory from the system: where, what that means, and who asked."""
