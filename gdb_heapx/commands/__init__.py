"""The commands, one family a file; a new file here is found by itself."""
