"""Deciding from numbers alone: phases, gate, divergence, value, bandit."""
