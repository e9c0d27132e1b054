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

from collections.abc import Mapping
from dataclasses import dataclass

from hpt.config import HybridConfig
from hpt.learned.facts import CycleFacts
from hpt.predictors.extrapolation import window_of
from hpt.predictors.protocol import Proposal, Silent

MIN_CYCLES = 3  # before that the EMA is little more than the last displacement


@dataclass(frozen=True, slots=True)
class Preset:
    """(pull-back a, {time scale mu: gain g}) at both ends of a window of progress; linear in between.

    With `orthogonal` the average is followed by the orthogonal factors of its matrices.
    """

    start: tuple[float, Mapping[float, float]]
    end: tuple[float, Mapping[float, float]]
    window: tuple[float, float]
    orthogonal: bool = False

    @property
    def letter(self) -> str:
        """First letter of the direction it follows."""
        return "O" if self.orthogonal else "E"

    @property
    def scale(self) -> float:
        """The time scale mu, one for the whole preset."""
        (mu,) = {*self.start[1], *self.end[1]}
        return mu


PRESETS: dict[str, Preset] = {
    "orthogonal": Preset(start=(0.5, {0.8: 2.3}), end=(0.45, {0.8: 1.6}), window=(0.10, 0.90), orthogonal=True),
    "short": Preset(start=(0.5, {0.8: 2.0}), end=(0.5, {0.8: 2.0}), window=(0.10, 0.90)),
    "ramp": Preset(start=(0.5, {0.8: 2.4}), end=(0.4, {0.8: 1.2}), window=(0.10, 0.90)),
    "long": Preset(start=(0.25, {0.95: 2.0}), end=(0.25, {0.95: 2.0}), window=(0.10, 0.60)),
}


class Nesterov(Silent):
    """Jumps along one EMA of displacements at a preset's gain.

    Args:
        config: settings; `predict.preset` chooses the preset, `predict.window_*_frac` replaces its window.
        preset: name of a preset, over the one in `config`.

    Attributes:
        window: first and last progress at which the trainer should let it jump.
    """

    name = "nesterov"

    def __init__(self, config: HybridConfig, preset: str | None = None) -> None:
        self.preset = PRESETS[config.predict.preset if preset is None else preset]
        self.scales = (self.preset.scale,)
        self.window = window_of(config, self.preset.window)

    def coefficients(self, facts: CycleFacts) -> tuple[float, float, float]:
        """Pull-back a, gain g and time scale mu at this point of the run."""
        mu, position = self.preset.scale, self._position(facts)
        (first_a, first_g), (last_a, last_g) = self.preset.start, self.preset.end
        a = first_a + position * (last_a - first_a)
        g = first_g[mu] + position * (last_g[mu] - first_g[mu])
        return a, g, mu

    def _position(self, facts: CycleFacts) -> float:
        """Place in the window, 0 at its start and 1 at its end.

        Without total_steps the fall of the learning rate stands in for progress: under a linear decay to
        zero it is the progress, under a constant rate it is 0 and the preset stays at its start.
        """
        progress = 1.0 - facts.lr_frac if facts.progress is None else facts.progress
        start, end = self.window
        return min(1.0, max(0.0, (progress - start) / (end - start)))

    def propose(self, facts: CycleFacts, max_horizon: int) -> Proposal | None:
        """Propose the preset's jump once three cycles are finished."""
        if facts.cycle < MIN_CYCLES:
            return None
        a, g, mu = self.coefficients(facts)
        trend = f"{self.preset.letter}{mu:g}"
        return proposal_of(self.name, a, g, trend, facts.num_steps, max_horizon, f"{mu:g}x1")


def proposal_of(name: str, a: float, g: float, trend: str, num_steps: int, max_horizon: int, arm: str) -> Proposal:
    """The jump -a d + g E<mu>; a horizon above the largest is met by lowering g, never a.

    Args:
        name: predictor.
        a: pull-back on d.
        g: gain on the trend.
        trend: name of the direction, E<mu> or O<mu>.
        num_steps: full steps in a cycle (K).
        max_horizon: the most full steps the jump may stand for.
        arm: name under which its value is learned.
    """
    horizon = max(1, round((g - a) * num_steps))
    if horizon > max_horizon:
        g, horizon = max(0.0, a + max_horizon / num_steps), max_horizon
    return Proposal(predictor=name, coefficients={"d": -a, trend: g}, horizon=horizon, arm=arm)
