"""Two snapshots, and what has changed from one to the other: pure functions over both."""
