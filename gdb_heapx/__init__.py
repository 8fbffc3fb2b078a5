"""heapx: where the memory of a process sits inside glibc malloc, and why it stays there."""

__version__ = "0.1.0"
