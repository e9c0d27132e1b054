"""The learned model of the training run, and the numbers it reads."""
