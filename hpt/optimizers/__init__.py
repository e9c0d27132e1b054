"""Inner optimizers: by name or a list of them, the roles of the weights that they train, and what their steps cost."""
