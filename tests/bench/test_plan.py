"""The modes keep what they promise."""

from hpt.bench.plan import MODES


def test_rigorous_has_the_rigour_the_original_states() -> None:
    """At least 100 values in several processes, and three seconds of warm-up in each."""
    mode = MODES["rigorous"]
    assert mode.processes * mode.values >= 100
    assert mode.processes > 1
    assert mode.warmups * mode.min_time_s >= 3.0
