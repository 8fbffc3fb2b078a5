"""Chunks one by one, and what an address or a word of memory means."""
