"""Controls: arms that do less than a predictor and must lose to one that works.

`frozen` makes a jump take place that moves nothing: the call, the probe and the counted horizon are spent, the weights
stay. An arm that does not beat it gains nothing by its weight change, and a "speed-up" that it shows comes from
counting skipped steps as progress. `random` jumps the usual length in a direction that means nothing.
"""

from dataclasses import replace

from hpt.config import HybridConfig
from hpt.jump.delta import WeightDelta
from hpt.jump.stats import CycleStats
from hpt.learned.loss_trend import LossTrend
from hpt.numerics.rng import derive_seed
from hpt.predictors.nesterov import Nesterov
from hpt.predictors.protocol import BasePredictor, Proposal


class Frozen(BasePredictor):
    """Proposes to stay when the `ramp` preset would jump, for the same horizon.

    Args:
        config: settings, as for `ramp`.
    """

    name = "frozen"

    def __init__(self, config: HybridConfig) -> None:
        self._ramp = Nesterov(config, preset="ramp")
        self.scale, self.window = self._ramp.scale, self._ramp.window

    def propose(self, stats: CycleStats, trend: LossTrend, max_horizon: int) -> Proposal | None:
        """Propose a delta of nothing."""
        proposal = self._ramp.propose(stats, trend, max_horizon)
        if proposal is None:
            return None
        return replace(proposal, predictor=self.name, delta=WeightDelta(0.0, 0.0, self.scale), arm=self.name)


class Random(BasePredictor):
    """Jumps along Gaussian noise when, and for as long as, the preset would.

    The noise is fixed by seed and cycle: whoever asks, and how often, gets the same direction.

    Args:
        config: settings, as for the preset; `seed` fixes the directions.
        norm_ratio: expected length of the jump relative to |d| (the default preset's is .58 to .75, by workload).
    """

    name = "random"

    def __init__(self, config: HybridConfig, norm_ratio: float = 0.67) -> None:
        self.norm_ratio = norm_ratio
        self._seed = config.seed
        self._preset = Nesterov(config)
        self.window = self._preset.window

    def propose(self, stats: CycleStats, trend: LossTrend, max_horizon: int) -> Proposal | None:
        """Propose this cycle's random direction."""
        proposal = self._preset.propose(stats, trend, max_horizon)
        if proposal is None:
            return None
        seed = derive_seed(self._seed, f"random/{stats.cycle}")
        delta = WeightDelta(0.0, self.norm_ratio, self.scale, noise_seed=seed)
        return replace(proposal, predictor=self.name, delta=delta, arm=self.name)
