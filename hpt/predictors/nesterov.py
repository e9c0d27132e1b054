"""The base predictor: a jump along the trend of cycle displacements with a small pull-back, by preset.

With d the displacement of the last cycle of K full steps and E its bias-corrected EMA over cycles (decay
mu),

    jump = -a d + g E

For a = 1 - olr and g = olr mu / (1 - mu) this is periodic outer Nesterov on cycle displacements (SNOO,
arXiv:2510.15830; DiLoCo with one worker, arXiv:2311.08105); `short` is olr = .5, mu = .8. We differ in
four points: the EMA is bias-corrected, there is a window outside which nothing jumps, (a, g) may fall linearly
through it, and the matrices of the EMA may be followed by their orthogonal factors at equal norm (`orthogonal`, the
default), as Muon does with momentum (Jordan et al. 2024): the few directions in which the weights drift fastest no
longer take the whole jump. `ramp` follows the EMA itself; a falling gain is what makes one preset serve a GPT and an
MLP; `long` suits the MLP alone. Constants: measured, 291 paired runs against a tuned AdamW.

A drift v per cycle is amplified to (1 + g - a) v, so the jump stands for (g - a) K full steps.
"""

from dataclasses import dataclass, replace

from hpt.config import HybridConfig
from hpt.errors import ConfigError
from hpt.jump.delta import WeightDelta
from hpt.jump.policy import POLICIES
from hpt.jump.stats import CycleStats
from hpt.learned.loss_trend import LossTrend
from hpt.learned.prior import prior_of
from hpt.optimizers.traits import RunTraits
from hpt.predictors.protocol import BasePredictor, Proposal

MIN_CYCLES = 3  # before that the EMA is little more than the last displacement


@dataclass(frozen=True, slots=True)
class JumpPreset:
    """(pull-back a, gain g) at both ends of a window of progress, linear in between.

    Attributes:
        start: at the window's start.
        end: at its end.
        window: first and last progress.
        scale: decay mu of the trend.
        orthogonal: the trend is followed by the orthogonal factors of its matrices.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    window: tuple[float, float] = (0.10, 0.90)
    scale: float = 0.8
    orthogonal: bool = False


PRESETS: dict[str, JumpPreset] = {
    "orthogonal": JumpPreset(start=(0.5, 2.3), end=(0.45, 1.6), orthogonal=True),
    "short": JumpPreset(start=(0.5, 2.0), end=(0.5, 2.0)),
    "ramp": JumpPreset(start=(0.5, 2.4), end=(0.4, 1.2)),
    "long": JumpPreset(start=(0.25, 2.0), end=(0.25, 2.0), window=(0.10, 0.60), scale=0.95),
    # the default without one of its parts, for `hpt compare --leave-one-out`; a drift is amplified as before
    "no-pull-back": JumpPreset(start=(0.0, 1.8), end=(0.0, 1.15), orthogonal=True),
    "no-ramp": JumpPreset(start=(0.475, 1.95), end=(0.475, 1.95), orthogonal=True),
    "not-orthogonal": JumpPreset(start=(0.5, 2.3), end=(0.45, 1.6)),
}


class Nesterov(BasePredictor):
    """Jumps along one EMA of displacements at a preset's gain.

    Args:
        config: settings; `predict.preset` and `predict.policy` choose the jump, `predict.window_*_frac` replaces the
            preset's window.
        preset: name of a preset, over the one in `config`.
        latest_end: progress at which the window ends where the preset's would end later.

    Raises:
        ConfigError: the window is empty.
    """

    name = "nesterov"

    def __init__(self, config: HybridConfig, preset: str | None = None, latest_end: float | None = None) -> None:
        self.preset = PRESETS[config.predict.preset if preset is None else preset]
        self.policy = POLICIES[config.predict.policy or "full"]
        self.scale = self.preset.scale
        start, end = self.preset.window
        self.window = window_of(config, (start, end if latest_end is None else min(end, latest_end)))

    def delta(self, stats: CycleStats) -> WeightDelta:
        """Pull-back and gain at this point of the run, whatever the horizon."""
        position = self._position(stats)
        (first_a, first_g), (last_a, last_g) = self.preset.start, self.preset.end
        return WeightDelta(
            pull_back=first_a + position * (last_a - first_a),
            gain=first_g + position * (last_g - first_g),
            scale=self.scale,
            orthogonal=self.preset.orthogonal,
        )

    def _position(self, stats: CycleStats) -> float:
        """Place in the window, 0 at its start and 1 at its end.

        Without total_steps the fall of the learning rate stands in for progress: under a linear decay to
        zero it is the progress, under a constant rate it is 0 and the preset stays at its start.
        """
        progress = 1.0 - stats.lr_frac if stats.progress is None else stats.progress
        start, end = self.window
        return min(1.0, max(0.0, (progress - start) / (end - start)))

    def propose(self, stats: CycleStats, trend: LossTrend, max_horizon: int) -> Proposal | None:
        """Propose the preset's jump, as the policy has it, once three cycles are finished."""
        del trend
        if stats.cycle < MIN_CYCLES:
            return None
        delta = self.policy.delta(self.delta(stats))
        return proposal_of(self.name, delta, stats.num_steps, max_horizon, self.policy.name)


def proposal_of(
    name: str, delta: WeightDelta, num_steps: int, max_horizon: int, arm: str, confidence: float | None = None
) -> Proposal:
    """The jump by `delta`; a horizon above the largest is met by lowering the gain, never the pull-back.

    Args:
        name: predictor.
        delta: as far as wanted.
        num_steps: full steps in a cycle (K).
        max_horizon: the most full steps the jump may stand for.
        arm: policy, or another name under which it is recorded.
        confidence: that its value is positive.
    """
    horizon = delta.horizon(num_steps)
    if horizon > max_horizon:
        gain = max(0.0, delta.pull_back + max_horizon / num_steps)
        delta, horizon = replace(delta, gain=gain), max_horizon
    return Proposal(predictor=name, delta=delta, horizon=horizon, arm=arm, confidence=confidence)


def base_of_kind(config: HybridConfig, traits: RunTraits) -> Nesterov:
    """The preset from which policies are chosen: its window ends where jumps in runs of the kind ended.

    A policy in the settings is played through the preset's own window.
    """
    return Nesterov(config, latest_end=None if config.predict.policy else prior_of(traits).window_end_frac)


def window_of(config: HybridConfig, default: tuple[float, float]) -> tuple[float, float]:
    """First and last progress at which jumps are wanted: the settings where given, else `default`.

    Raises:
        ConfigError: the window is empty.
    """
    start, end = config.predict.window_start_frac, config.predict.window_end_frac
    window = (default[0] if start is None else start, default[1] if end is None else end)
    if window[0] >= window[1]:
        raise ConfigError(
            f"predict.window_start_frac is {window[0]:g}, not below the window's end {window[1]:g}; "
            "lower it or raise predict.window_end_frac"
        )
    return window
