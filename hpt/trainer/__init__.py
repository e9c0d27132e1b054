"""The hybrid trainer: full steps, jumps, corrections, checkpoints."""
