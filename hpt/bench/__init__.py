"""Timing: scenarios found by entry point, measured by pyperf in processes of their own, compared with care."""
