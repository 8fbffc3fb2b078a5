"""What is answered: the model, and how it is shown, written and read by programs."""
