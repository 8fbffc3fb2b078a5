"""What was read, frozen: one malloc, the whole address space, and the owner of each byte."""
