"""The phase reports, written from stored measurements alone."""
