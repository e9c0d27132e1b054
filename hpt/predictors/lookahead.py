"""Lookahead (arXiv:1907.08610): after K fast steps the weights go back part of the way to where they began.

The slow weights move by alpha of the fast ones' displacement, theta <- theta_start + alpha d, so the jump
is -(1 - alpha) d. It averages and forecasts nothing: the horizon is the least there is. We differ in the
cadence, the trainer's cycle instead of 5 or 6 steps; the optimizer's state is kept, as in the paper's
experiments on Adam.
"""

from hpt.config import HybridConfig
from hpt.jump.delta import WeightDelta
from hpt.jump.stats import CycleStats
from hpt.learned.loss_trend import LossTrend
from hpt.predictors.nesterov import window_of
from hpt.predictors.protocol import BasePredictor, Proposal


class Lookahead(BasePredictor):
    """Pulls back by 1 - alpha of the last displacement, in the whole run as published.

    Args:
        config: settings.
        alpha: share of the displacement that is kept (paper: .5 to .8).
    """

    name = "lookahead"

    def __init__(self, config: HybridConfig, alpha: float = 0.8) -> None:
        self.alpha = alpha
        self.window = window_of(config, (0.0, 1.0))

    def propose(self, stats: CycleStats, trend: LossTrend, max_horizon: int) -> Proposal | None:
        """Propose the pull-back, every cycle."""
        del stats, trend, max_horizon
        delta = WeightDelta(1.0 - self.alpha, 0.0, self.scale)
        return Proposal(predictor=self.name, delta=delta, horizon=1, arm=self.name)
