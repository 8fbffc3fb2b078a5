"""Snapshots in files: written whole, read strictly, and asked without a process."""
