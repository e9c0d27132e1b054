"""What is run before a release, and how it is stored."""
