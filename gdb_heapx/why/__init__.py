"""Why memory stays: causes that the heap proves, and who set the settings."""
