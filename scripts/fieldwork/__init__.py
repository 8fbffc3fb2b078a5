"""Real programs under load, and whether what heapx says of them comes true: scripts/field."""
