"""Does prediction pay? Paired cells against tuned baselines and controls, and what their numbers allow to be said."""
