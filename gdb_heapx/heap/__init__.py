"""Reading malloc's memory: arenas, heaps, lists, the walk over chunks, and what trim would do."""
