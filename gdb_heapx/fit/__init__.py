"""What malloc would do now: its own steps, replayed on an overlay over the target's memory."""
