"""Deciding from numbers alone: phases, divergence, bandit, health, gate."""
