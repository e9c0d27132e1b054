"""Beliefs about the worth of policies, for tests."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hpt.learned.belief import Belief

NUM = 4
"""Policies."""


@st.composite
def beliefs(draw: st.DrawFn) -> Belief:
    """Any means, and a covariance F F' + D that may be close to singular."""
    mean = draw(hnp.arrays(np.float64, NUM, elements=st.floats(-0.5, 0.5)))
    factor = draw(hnp.arrays(np.float64, (NUM, NUM), elements=st.floats(-0.4, 0.4)))
    ridge = draw(st.sampled_from([1e-6, 1e-3, 0.05]))
    return Belief(mean, factor @ factor.T + ridge * np.eye(NUM))


def belief_of(mean: float, sd: float, num: int = 1) -> Belief:
    """Independent policies alike."""
    return Belief(np.full(num, mean), sd**2 * np.eye(num))
