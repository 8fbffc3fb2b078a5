"""Where malloc is: the libcs, their variables and threads, and how each was found."""
