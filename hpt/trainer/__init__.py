"""The hybrid trainer: full steps, jumps, verdicts, checkpoints."""
