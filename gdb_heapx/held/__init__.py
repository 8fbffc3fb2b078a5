"""What is held of a target that runs on: its chunks in use, indexed and copied, and its roots."""
