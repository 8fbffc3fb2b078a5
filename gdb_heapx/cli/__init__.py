"""What the user says: arguments, settings, the declaration of commands, help and completions."""
