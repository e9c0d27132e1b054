"""The version, which is written here and nowhere else: the build, `hpt --version` and every stored run read it."""

__version__ = "0.3.0"
