"""Rolling the trainer's own latent dynamics forward: one sequential tick per predicted step, all heads at each tick.

The self-check shows what is not assumed: that a longer roll-out continues the shorter ones tick by tick, that its end
depends on the first action and on the state it starts from, and that every head answers at every tick.
"""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from hpt.bench.scenario import Measured, Preset, Scenario, require

if TYPE_CHECKING:
    from hpt.learned.forecast_model import Vector
    from hpt.learned.rollout import FastRollout
    from hpt.learned.rssm import Sizes

HORIZONS = (1, 5, 10, 15, 25, 50, 75)
_NUM_SEEN = 20  # ticks observed before the first roll-out
_SPREAD = 0.3  # of the random numbers on top of the initial weights: untrained heads would say nothing


def set_up(preset: Preset, *, horizon: int) -> Measured:
    """A model with weights that matter, in a state that was reached by observing, and a plan of actions."""
    import torch

    from hpt.learned.rollout import FastRollout
    from hpt.learned.rssm import SIZES
    from hpt.learned.world_model import WorldModel

    sizes = SIZES[preset]
    generator = torch.Generator().manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    model = WorldModel(sizes, generator)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name or name.startswith("heads"):
                parameter.add_(_SPREAD * torch.randn(parameter.shape, generator=generator))
    rollout = FastRollout(sizes, max(HORIZONS))
    rollout.load(model)
    draw = np.random.default_rng(0)
    for _ in range(_NUM_SEEN):
        _observe(rollout, sizes, draw)
    plan = draw.standard_normal((horizon, 3)).astype(np.float32)
    return Measured(
        call=partial(rollout.imagine, plan),
        check=partial(_check, rollout, sizes, plan, draw),
        per_unit={"multiply-add": multiply_adds(sizes)},
    )


def multiply_adds(sizes: "Sizes") -> int:
    """Of one tick, by the model's definition: GRU, prior, and one trunk for the whole ensemble of heads."""
    gru = 3 * sizes.deter * (sizes.deter + sizes.stoch + 3)
    trunk = sizes.trunk * (sizes.deter + sizes.stoch)
    heads = sizes.trunk * 2 * sizes.ensemble
    return gru + sizes.stoch * sizes.deter + trunk + heads


def _observe(rollout: "FastRollout", sizes: "Sizes", draw: np.random.Generator) -> None:
    features, actions = draw.standard_normal((1, sizes.features)), draw.standard_normal((1, 3))
    rollout.tick(features.astype(np.float32), actions.astype(np.float32))


def _answers(rollout: "FastRollout", plan: "Vector") -> np.ndarray:
    """All that the heads say, (H, 2 E), copied: the next roll-out writes into the same buffers."""
    judged = rollout.imagine(plan)
    return np.concatenate((judged.shift, judged.log_scale), axis=1)


def _check(rollout: "FastRollout", sizes: "Sizes", plan: "Vector", draw: np.random.Generator) -> None:
    full = _answers(rollout, plan)
    require(bool(np.isfinite(full).all()), "the forecast is finite")
    for horizon in {1, len(plan) // 2, len(plan) - 1} - {0}:
        shorter = _answers(rollout, plan[:horizon])
        require(np.allclose(shorter, full[:horizon], atol=1e-5), f"the first {horizon} ticks do not know what follows")
    require(np.allclose(_answers(rollout, plan), full), "rolling out leaves the state alone")
    other = plan.copy()
    other[0] += 1
    require(not np.array_equal(_answers(rollout, other)[0], full[0]), "the first tick depends on its action")
    if len(plan) > 1:
        require(not np.array_equal(_answers(rollout, other)[1], full[1]), "the second tick continues the first")
        require(bool((np.ptp(full, axis=0) > 0).all()), "every head is evaluated at every tick")
    require(full.shape[1] == 2 * sizes.ensemble, "all heads of the ensemble answer")
    _observe(rollout, sizes, draw)
    require(not np.array_equal(_answers(rollout, plan)[0], full[0]), "the prediction differs when the state differs")


SCENARIOS = tuple(
    Scenario(
        group="rssm_prediction",
        name=f"horizon_{horizon}",
        summary=f"Roll the latent state {horizon} step{'s' * (horizon > 1)} forward, all heads at each.",
        unit="predicted step",
        set_up=partial(set_up, horizon=horizon),
        num_units=horizon,
    )
    for horizon in HORIZONS
)
