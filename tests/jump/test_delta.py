"""A weight delta: what it stands for, and what shortening does to it."""

from hypothesis import given
from hypothesis import strategies as st

from hpt.jump.delta import WeightDelta


@given(pull_back=st.floats(0.0, 1.0), gain=st.floats(0.0, 5.0), factor=st.floats(0.01, 1.0))
def test_shortening_keeps_the_direction(pull_back: float, gain: float, factor: float) -> None:
    """Both factors shrink alike and nothing else changes."""
    delta = WeightDelta(pull_back, gain, 0.8, orthogonal=True, keeps_norm=True)
    assert delta.shortened(factor) == WeightDelta(
        factor * pull_back, factor * gain, 0.8, orthogonal=True, keeps_norm=True
    )


def test_the_horizon_is_the_amplification_of_a_drift() -> None:
    """A drift v a cycle becomes (1 + g - a) v, so g - a = 1.8 stands for 54 of 30 steps; never less than one."""
    assert WeightDelta(0.5, 2.3, 0.8).horizon(30) == 54
    assert WeightDelta(0.2, 0.0, 0.8).horizon(30) == 1
