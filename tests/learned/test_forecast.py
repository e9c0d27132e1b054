"""The units in which learned models answer."""

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt.learned.forecast import ACTION_SIZE, Correction, action_vector, gaussian_nll


@given(error=st.floats(-5, 5), log_scale=st.floats(-2, 2))
def test_nll_is_the_gaussian_log_density(error: float, log_scale: float) -> None:
    """The score equals minus the log of the standard library's normal density."""
    density = statistics.NormalDist(0.0, float(np.exp(log_scale))).pdf(error)
    if density > 0:
        assert gaussian_nll(error, log_scale) == pytest.approx(-np.log(density), rel=1e-9)


def test_a_correction_of_zeros_is_the_trend_itself() -> None:
    """Shift 0 and log scale 0 leave the trend's forecast; shift 1 and log 2 move it by a scale and double that."""
    assert Correction(0.0, 0.0, 0.0).applied(2.0, -0.1, 0.5) == (1.9, 0.5)
    mean, scale = Correction(1.0, float(np.log(2)), 0.3).applied(2.0, -0.1, 0.5)
    assert mean == pytest.approx(2.4)
    assert scale == pytest.approx(1.0)


@pytest.mark.parametrize(("since", "expected"), [(None, 3.0), (0, 0.0), (5, 0.5), (30, 3.0), (99, 3.0)])
def test_action_counts_cycles_since_the_jump(since: int | None, expected: float) -> None:
    """The third number is steps since the jump over K, clipped to 3, and 3 for never."""
    action = action_vector(0.7, 2.0, since, 10)
    assert action.dtype == np.float32
    np.testing.assert_array_equal(action, np.array([0.7, 2.0, expected], dtype=np.float32))
    assert len(action) == ACTION_SIZE
