"""Models with data that can be learned, for measuring."""
