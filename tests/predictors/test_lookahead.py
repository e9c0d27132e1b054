"""Lookahead: the jump lands on the slow weights."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from references.trajectory_facts import random_path

from hpt.config import HybridConfig
from hpt.predictors.lookahead import Lookahead


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), alpha=st.floats(0.0, 1.0))
def test_the_weights_land_on_the_slow_weights(seed: int, alpha: float) -> None:
    """Start + d + jump equals start + alpha d (algorithm 1 of the paper)."""
    path = random_path(seed, num_cycles=1)
    start = np.linspace(-1.0, 1.0, path.displacements.shape[1])

    proposal = Lookahead(HybridConfig(), alpha).propose(path.facts(1), max_horizon=75)

    assert proposal is not None
    landed = start + path.displacements[0] + path.jump(proposal.coefficients, 1)
    np.testing.assert_allclose(landed, start + alpha * path.displacements[0], rtol=0, atol=1e-13)


def test_it_goes_back_a_fifth_and_claims_no_steps() -> None:
    """With alpha = .8: factor -.2 on the displacement, horizon 1, from the first cycle to the last."""
    predictor = Lookahead(HybridConfig())

    proposal = predictor.propose(random_path(0, 1).facts(1), max_horizon=75)

    assert proposal is not None
    assert abs(proposal.coefficients["d"] + 0.2) < 1e-15
    assert proposal.horizon == 1
    assert predictor.window == (0.0, 1.0)
    assert predictor.scales == ()
    assert predictor.num_past == 0
