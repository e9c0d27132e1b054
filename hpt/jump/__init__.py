"""The method: displacement of a cycle, trend, weight delta, jump, probe, keep or undo."""
