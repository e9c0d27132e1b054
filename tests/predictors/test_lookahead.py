"""Lookahead: the jump lands on the slow weights."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from references.simulated_path import random_path

from hpt.config import HybridConfig
from hpt.learned.loss_trend import LossTrend
from hpt.predictors.lookahead import Lookahead

TREND = LossTrend(8)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), alpha=st.floats(0.0, 1.0))
def test_the_weights_land_on_the_slow_weights(seed: int, alpha: float) -> None:
    """Start + d + jump equals start + alpha d (algorithm 1 of the paper)."""
    path = random_path(seed, num_cycles=1)
    start = np.linspace(-1.0, 1.0, path.displacements.shape[1])

    proposal = Lookahead(HybridConfig(), alpha).propose(path.stats(1), TREND, 75)

    assert proposal is not None
    landed = start + path.displacements[0] + path.jump(proposal.delta, 1)
    np.testing.assert_allclose(landed, start + alpha * path.displacements[0], rtol=0, atol=1e-13)


def test_it_goes_back_a_fifth_and_claims_no_steps() -> None:
    """With alpha = .8: a fifth of the displacement, horizon 1, from the first cycle to the last."""
    predictor = Lookahead(HybridConfig())

    proposal = predictor.propose(random_path(0, 1).stats(1), TREND, 75)

    assert proposal is not None
    assert (proposal.delta.pull_back, proposal.delta.gain) == (1.0 - 0.8, 0.0)
    assert proposal.horizon == 1
    assert predictor.window == (0.0, 1.0)
