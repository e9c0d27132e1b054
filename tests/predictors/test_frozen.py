"""The frozen control spends what `ramp` spends and moves nothing."""

import numpy as np
import pytest
from references.trajectory_facts import random_path

from hpt.config import HybridConfig, PredictConfig
from hpt.predictors.frozen import Frozen
from hpt.predictors.nesterov import Nesterov


@pytest.mark.parametrize("preset", ["ramp", "short"])
@pytest.mark.parametrize(("cycle", "progress", "max_horizon"), [(2, 0.1, 75), (3, 0.2, 200), (6, 0.5, 75), (8, 0.9, 9)])
def test_the_call_is_spent_and_nothing_moves(preset: str, cycle: int, progress: float, max_horizon: int) -> None:
    """Same moments and horizons as `ramp`, whatever preset is set; the weight delta is exactly zero."""
    config = HybridConfig(predict=PredictConfig(preset=preset))
    path = random_path(0, 8, scales=(0.8,))
    facts = path.facts(cycle, progress=progress)

    frozen = Frozen(config).propose(facts, max_horizon)
    ramp = Nesterov(config, preset="ramp").propose(facts, max_horizon)

    assert (frozen is None) == (ramp is None)
    if frozen is not None and ramp is not None:
        assert frozen.horizon == ramp.horizon
        assert not path.jump(frozen.coefficients, cycle).any()
        assert np.any(path.jump(ramp.coefficients, cycle))


def test_it_keeps_no_averages() -> None:
    """The control costs no memory for directions it does not use."""
    predictor = Frozen(HybridConfig())

    assert (predictor.scales, predictor.num_past) == ((), 0)
    assert predictor.window == (0.1, 0.9)
