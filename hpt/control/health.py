"""How healthy a run is, from what it really does, and what might help.

Five parts, each in [0, 1], averaged over those that have data:

    velocity      is the loss falling: logistic in the slope's t-statistic over the window
    acceleration  1 unless the later half of the window rises more than the earlier half did
    entropy       entropy of the gradient's energy over parameter groups, relative to its own usual value
    accuracy      share of forecasts within two of their scales
    stability     1 / (1 + variance of the log gradient norm around its trend)

Windows are deques in order of time. The plateau test is the least-squares slope against its standard
error. A recommendation is a record; carrying it out, and calling `restart` afterwards so that the next
judgement rests on the steps made since, is the trainer's business.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from hpt.config import TuningConfig
from hpt.control.trend import FloatArray, Slope, detrended, least_squares_slope, median

PLATEAU_SIGMAS = 2.0
_RECENT_STEPS = 10  # entropy now: median of these, against the median of the window
_MIN_FORECASTS = 10
_WEIGHTS = {"velocity": 0.25, "acceleration": 0.15, "entropy": 0.15, "accuracy": 0.25, "stability": 0.20}
_BANDS = ((0.85, "excellent"), (0.70, "good"), (0.50, "moderate"), (0.30, "poor"), (0.0, "critical"))
_TINY = 1e-30


class Advice(StrEnum):
    """What a recommendation changes, and what its factor multiplies."""

    LEARNING_RATE = "learning_rate"  # the current learning rate
    HORIZON = "horizon"  # the largest horizon of a jump
    CLIP = "clip"  # the running median of the gradient norm; the product is the limit


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Change `what` by `factor`, because of `why`."""

    what: Advice
    why: str
    factor: float


@dataclass(frozen=True, slots=True)
class Health:
    """One assessment.

    Attributes:
        score: weighted mean of the parts, in [0, 1]; None until the window is full, like the slope.
        band: excellent, good, moderate, poor or critical; "unmeasured" until then.
        plateau: the slope cannot be told from zero.
        slope: least-squares slope of the loss, per step.
        slope_se: its standard error.
        recommendations: what might help, at most one of each kind.
        parts: the parts that had data.
    """

    score: float | None
    band: str
    plateau: bool
    slope: float | None
    slope_se: float | None
    recommendations: tuple[Recommendation, ...]
    parts: dict[str, float] = field(default_factory=dict[str, float])


_UNMEASURED = Health(None, "unmeasured", plateau=False, slope=None, slope_se=None, recommendations=())


class HealthMonitor:
    """Keeps the last `plateau_steps` steps and judges them on request."""

    def __init__(self, config: TuningConfig) -> None:
        self._size = config.plateau_steps
        self._losses: deque[float] = deque(maxlen=self._size)
        self._grad_norms: deque[float] = deque(maxlen=self._size)
        self._entropies: deque[float] = deque(maxlen=self._size)
        self._forecast_scores: deque[float] = deque(maxlen=self._size)

    def observe(
        self, loss: float, grad_norm: float, group_grad_norms: tuple[float, ...], forecast_z: float | None
    ) -> None:
        """Take note of one full step; steps that are not finite are the divergence monitor's business.

        Args:
            loss: loss of the step's batch.
            grad_norm: global gradient norm before clipping.
            group_grad_norms: the same by parameter group; fewer than two groups have no entropy.
            forecast_z: (loss - forecast) in units of the forecast's scale, if there was one.
        """
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            return
        self._losses.append(loss)
        self._grad_norms.append(grad_norm)
        if len(group_grad_norms) > 1:
            self._entropies.append(energy_entropy(group_grad_norms))
        if forecast_z is not None:
            self._forecast_scores.append(abs(forecast_z))

    def assess(self) -> Health:
        """Judge the window, once it is full."""
        if len(self._losses) < self._size:
            return _UNMEASURED
        losses = _array(self._losses)
        slope = least_squares_slope(losses)
        parts = self._parts(losses, slope)
        total = sum(_WEIGHTS[name] for name in parts)
        score = sum(_WEIGHTS[name] * value for name, value in parts.items()) / total
        return Health(
            score=score,
            band=next(name for least, name in _BANDS if score >= least),
            plateau=slope.is_flat(PLATEAU_SIGMAS),
            slope=slope.value,
            slope_se=slope.standard_error,
            recommendations=_recommend(parts, slope, losses),
            parts=parts,
        )

    @property
    def usual_grad_norm(self) -> float:
        """Median of the gradient norms in the window.

        Raises:
            ValueError: the window is empty.
        """
        return median(_array(self._grad_norms))

    def restart(self) -> None:
        """Forget the window, after a change to the run that makes its past no guide."""
        for window in self._windows().values():
            window.clear()

    def state_dict(self) -> dict[str, Any]:
        """The windows."""
        return {name: list(window) for name, window in self._windows().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        for name, window in self._windows().items():
            window.clear()
            window.extend(float(one) for one in state[name])

    def _windows(self) -> dict[str, deque[float]]:
        return {
            "losses": self._losses,
            "grad_norms": self._grad_norms,
            "entropies": self._entropies,
            "forecast_scores": self._forecast_scores,
        }

    def _parts(self, losses: FloatArray, slope: Slope) -> dict[str, float]:
        parts = {
            "velocity": _logistic(2.0 * (-_t_statistic(slope) - 1.0)),
            "acceleration": _acceleration(losses),
            "stability": _stability(_array(self._grad_norms)),
        }
        if len(self._entropies) == self._size:
            entropies = _array(self._entropies)
            usual = median(entropies)
            parts["entropy"] = min(1.0, median(entropies[-_RECENT_STEPS:]) / usual) if usual else 1.0
        if len(self._forecast_scores) >= _MIN_FORECASTS:
            parts["accuracy"] = float((_array(self._forecast_scores) <= 2.0).mean())
        return parts


def energy_entropy(norms: tuple[float, ...]) -> float:
    """Entropy of squared norms over groups, in units of its largest value log(groups); 0 when all are 0."""
    energies = [norm * norm for norm in norms]
    total = sum(energies)
    if not total > 0.0 or not math.isfinite(total):
        return 0.0
    shares = [energy / total for energy in energies if energy > 0.0]
    return -sum(share * math.log(share) for share in shares) / math.log(len(norms))


def _recommend(parts: dict[str, float], slope: Slope, losses: FloatArray) -> tuple[Recommendation, ...]:
    found: list[Recommendation] = []
    if parts["stability"] < 0.5:  # first, while the window that the limit is taken from is there: see `restart`
        found.append(Recommendation(Advice.CLIP, "gradient norms are erratic", 2.0))
    rate = _learning_rate_advice(parts, slope, losses)
    if rate is not None:
        found.append(rate)
    accuracy = parts.get("accuracy", 1.0)
    if accuracy < 0.6:
        mostly = accuracy < 0.3
        why, factor = ("forecasts miss mostly", 0.5) if mostly else ("forecasts miss often", 0.7)
        found.append(Recommendation(Advice.HORIZON, why, factor))
    return tuple(found)


def _learning_rate_advice(parts: dict[str, float], slope: Slope, losses: FloatArray) -> Recommendation | None:
    """The first that applies, worst first."""
    t_statistic = _t_statistic(slope)
    if t_statistic > 2.0 * PLATEAU_SIGMAS:
        return Recommendation(Advice.LEARNING_RATE, "the loss rises", 0.3)
    if parts["stability"] < 0.5:
        return Recommendation(Advice.LEARNING_RATE, "gradient norms are erratic", 0.5)
    if slope.is_flat(PLATEAU_SIGMAS):
        return Recommendation(Advice.LEARNING_RATE, "the loss stands still", 0.5)
    if parts.get("entropy", 1.0) < 0.5:
        return Recommendation(Advice.LEARNING_RATE, "the gradient gathers in few groups", 0.8)
    fall_frac = -slope.value * len(losses) / max(abs(float(losses.mean())), _TINY)
    steady = t_statistic < -10.0 and parts["stability"] > 0.9
    if steady and fall_frac < 0.05:
        return Recommendation(Advice.LEARNING_RATE, "the loss falls steadily but slowly", 1.5)
    return None


def _acceleration(losses: FloatArray) -> float:
    """1 unless the later half rises, and rises more than the earlier half did."""
    middle = len(losses) // 2
    earlier, later = least_squares_slope(losses[:middle]), least_squares_slope(losses[middle:])
    spread = math.hypot(earlier.standard_error, later.standard_error)
    change = _t_statistic(Slope(later.value - earlier.value, spread))
    return math.exp(-max(0.0, min(change, _t_statistic(later)) - 1.0) / 2.0)


def _stability(grad_norms: FloatArray) -> float:
    residuals = detrended(np.log(np.maximum(grad_norms, _TINY)))
    return 1.0 / (1.0 + float(residuals @ residuals) / len(residuals))


def _t_statistic(slope: Slope) -> float:
    if slope.standard_error == 0.0:
        return math.copysign(math.inf, slope.value) if slope.value else 0.0
    return slope.value / slope.standard_error


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value)) if value > -500.0 else 0.0


def _array(window: deque[float]) -> FloatArray:
    return np.fromiter(window, float, len(window))
