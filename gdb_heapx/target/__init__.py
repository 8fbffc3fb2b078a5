"""What is looked at: memory, mappings, files, pages and threads, of a process or a core."""
