"""Where the time of a step goes: the trainer beside the plain loop, whole and component by component."""
