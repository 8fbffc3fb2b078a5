"""What a chunk in use is: recognisers, each of which says how it knows, and all chunks by type."""
