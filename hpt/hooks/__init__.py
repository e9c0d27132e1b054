"""Jumps in a training loop of the user's own, by hooks on its optimizer."""
