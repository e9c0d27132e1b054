"""examples/plain_loop.py, which needs nothing but torch and hpt."""

from references.examples import jumps_told_by


def test_the_example_jumps() -> None:
    """As it is, with the settings that it has."""
    assert jumps_told_by("plain_loop") > 10
