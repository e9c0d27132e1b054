"""Validating memory: arms, drills, checks and what is said about them."""
