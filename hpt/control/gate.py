"""May this run jump now? Window, trend, confidence, and a pause after a row of rejections.

Trend test. A jump follows the slow average of displacements, so that average must be more than noise. Under pure
noise displacements of different cycles are uncorrelated, up to the optimizer's own momentum, which reaches over the
nearest cycle or two. So the present displacement is compared with a combination of two EMAs in which the weight of
the last cycle cancels,

    F = (1 - mu1) E_mu2 - (1 - mu2) E_mu1     (weights (1 - mu1)(1 - mu2)(mu2^j - mu1^j) on the j-th cycle back, j >= 0)

and cos(d, F) must exceed what momentum leaves. Measured with AdamW, beta1 = 0.9: pure noise gives 0.15 falling to 0.08
over the first ten cycles of 10 steps, 0.07 to 0.01 with 15 steps; a byte-level GPT gives 0.24 to 0.49 there. Jumps
themselves whiten the path (0.0 to 0.3 on the same GPT), so only cycles before the first jump count, and a run that
passed has passed: after that its own evidence speaks (confidence, forks, rollbacks).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hpt.config import HybridConfig
from hpt.dynamics.facts import CycleFacts, FloatArray

MIN_CYCLES = 3
VETOES_BEFORE_TRIAL = 4  # refused for low confidence in a row, then one acts


def least_cosine(cycle_steps: int) -> float:
    """Cosine above what momentum leaves in cycles of K steps: falls with the square of K (0.15 at 10, 0.07 at 15)."""
    return max(0.08, 0.15 * (10.0 / cycle_steps) ** 2)


class TrendTest:
    """Whether the path has a trend that pure noise would not have.

    Args:
        noise_sigmas: standard errors by which the mean cosine must exceed zero, besides being above `least_cosine`.
    """

    def __init__(self, noise_sigmas: float) -> None:
        self._noise_sigmas = noise_sigmas
        self._cosines: list[float] = []
        self._before: FloatArray | None = None
        self.passed = False

    @property
    def cosine(self) -> float | None:
        """Mean cosine so far; None before there are two scales and two cycles."""
        return sum(self._cosines) / len(self._cosines) if self._cosines else None

    def observe(self, facts: CycleFacts) -> None:
        """Take note of a cycle that no jump preceded."""
        if self.passed:
            return
        cosine = self._cosine_of(facts)
        self._before = facts.gram.sum(axis=0)
        if cosine is None:
            return
        self._cosines = [*self._cosines, cosine][-10:]
        count = len(self._cosines)
        if count < MIN_CYCLES:
            return
        mean = sum(self._cosines) / count
        spread = math.sqrt(sum((one - mean) ** 2 for one in self._cosines) / (count - 1) / count)
        self.passed = mean > least_cosine(facts.num_steps) and mean > self._noise_sigmas * spread

    def _cosine_of(self, facts: CycleFacts) -> float | None:
        if len(facts.scales) < 2 or facts.cycle < 3 or self._before is None:
            return None
        fast, slow = int(np.argmin(facts.scales)), int(np.argmax(facts.scales))
        # Debiased averages in, so the factors that cancel the last cycle carry the bias corrections too.
        a, b = (1.0 - facts.scales[one] ** (facts.cycle - 1) for one in (fast, slow))
        weight_slow = b * (1.0 - facts.scales[fast])
        weight_fast = -a * (1.0 - facts.scales[slow])
        dot = weight_slow * facts.lagged[:, slow].sum() + weight_fast * facts.lagged[:, fast].sum()
        square = (
            weight_slow**2 * self._before[1 + slow, 1 + slow]
            + weight_fast**2 * self._before[1 + fast, 1 + fast]
            + 2 * weight_slow * weight_fast * self._before[1 + fast, 1 + slow]
        )
        norms = math.sqrt(max(float(square), 0.0)) * facts.displacement_norm
        return float(dot) / norms if norms > 0.0 else None

    def state_dict(self) -> dict[str, Any]:
        """Cosines seen and the verdict."""
        return {"cosines": list(self._cosines), "before": self._before, "passed": self.passed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._cosines = [float(one) for one in state["cosines"]]
        self._before = None if state["before"] is None else np.asarray(state["before"], dtype=np.float64)
        self.passed = bool(state["passed"])


class JumpGate:
    """Decides once a cycle whether a proposal may be asked for, and whether it may act.

    Args:
        config: the trainer's settings.
        window: (f0, f1), progress between which jumps are allowed.
    """

    def __init__(self, config: HybridConfig, window: tuple[float, float]) -> None:
        self._config = config
        self._window = window
        self._rejections = 0
        self._pause = 0
        self._vetoes = 0
        self.trend = TrendTest(config.predict.noise_sigmas)

    def in_window(self, progress: float | None, lr_frac: float) -> bool:
        """Inside [f0, f1] of the planned run; without a plan, while the learning rate is high enough."""
        if progress is None:
            return lr_frac >= self._config.predict.min_lr_frac
        return self._window[0] <= progress <= self._window[1]

    def end_cycle(self, facts: CycleFacts, *, after_jump: bool) -> str:
        """Take note of a finished cycle; returns why no proposal may be asked for now, or ""."""
        if not after_jump:
            self.trend.observe(facts)
        if self._pause > 0:
            self._pause -= 1
            return "pause after rejections"
        if not self.in_window(facts.progress, facts.lr_frac):
            return "outside the window"
        if self._config.gate == "earned" and not self.trend.passed:
            return "no trend beyond noise"
        return ""

    def admits(self, confidence: float | None) -> bool:
        """Whether a proposal of this confidence may act; None (no opinion) counts as the base preset, earned.

        What never acts is never judged, so a veto could not be shown to be wrong: after `VETOES_BEFORE_TRIAL` in a
        row one proposal acts on trial.
        """
        if self._config.gate == "always" or confidence is None or confidence >= self._config.confidence_threshold:
            self._vetoes = 0
            return True
        self._vetoes = (self._vetoes + 1) % (VETOES_BEFORE_TRIAL + 1)
        return self._vetoes == 0

    def rejected(self) -> None:
        """A jump was rejected or rolled back."""
        self._rejections += 1
        if self._rejections >= self._config.predict.pause_after_rejections:
            self._rejections, self._pause = 0, self._config.predict.pause_cycles

    def accepted(self) -> None:
        """A jump was kept through CORRECT."""
        self._rejections = 0

    def state_dict(self) -> dict[str, Any]:
        """Counts and the trend test."""
        return {
            "rejections": self._rejections,
            "pause": self._pause,
            "vetoes": self._vetoes,
            "trend": self.trend.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._rejections = int(state["rejections"])
        self._pause = int(state["pause"])
        self._vetoes = int(state["vetoes"])
        self.trend.load_state_dict(state["trend"])
