"""What heapx costs on heaps of many kinds, compared with reading them once: scripts/bench."""
