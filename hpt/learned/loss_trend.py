"""The constant forecaster of the loss, which every learned model must beat before it may act.

It knows no state. It says: h steps from now the loss will differ from its present level as it has differed, lately,
from the level h steps before. Level and innovation noise are simple exponential smoothing, whose h-step variance
noise^2 (1 + (h - 1) alpha^2) is the prior until outcomes are in (Hyndman et al., "Forecasting with Exponential
Smoothing", 2008, section 6.2, model ETS(A,N,N)). Each outcome then updates an exponentially weighted mean and variance
at its horizon (Finch, "Incremental calculation of weighted mean and variance", 2009), with the gain
max(1/200, 4/(n + 11)): about the last 200 outcomes, and about the last quarter of them early on, since a loss that
falls like a power law changes its slope with the logarithm of time (measured on such losses: 0.06 to 0.25 nats better
than half, 0.004 nats worse on white noise). Only outcomes that are already in are read, so that scores against this
forecaster are prequential.

The ten or so horizons are plain floats in lists: at this length a loop beats numpy's calls by four.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from hpt.errors import CheckpointError
from hpt.history import FloatArray
from hpt.numerics.running import corrected_gain
from hpt.numerics.stateful import Stateful

_LEVEL_GAIN = 1 / 16  # the reference's medium time scale
_NOISE_GAIN = 1 / 64
_NOISE_CLIP = 5.0  # sigmas: one spike may not inflate the unit in which everything else is measured
_NOISE_WARMUP = 16  # observations before the clip has a unit to go by
_FIRST_NOISE = 0.1  # of the loss, until there is a second one
_LEAST_GAIN = 1 / 200
_RELATIVE_FLOOR = 1e-6  # of the level: a loss that never moves still has a unit
_ABSOLUTE_FLOOR = 1e-12


@dataclass(frozen=True, slots=True)
class LossForecast:
    """Loss expected some steps ahead, in the loss's own unit: mean and standard deviation of one batch's loss."""

    mean: float
    scale: float


@dataclass(frozen=True, slots=True)
class TrendPath:
    """What the trend said along n full steps, (n,) each, in loss units.

    Attributes:
        level: level after each step.
        noise: noise after each step.
        next_mean: forecast of each step's loss from the step before; NaN for the first loss of the run.
        next_scale: its standard deviation.
        far_mean: forecast, made after each step, of the loss `far` steps on; NaN where none is asked for.
        far_scale: its standard deviation.
    """

    level: FloatArray
    noise: FloatArray
    next_mean: FloatArray
    next_scale: FloatArray
    far_mean: FloatArray
    far_scale: FloatArray


class LossTrend(Stateful):
    """The constant forecaster.

    Args:
        max_horizon: furthest horizon, in full steps.
        far: horizon at which forecasts are scored, which is then kept exactly; None: no such.

    Attributes:
        max_horizon: the furthest of both.
        level: bias-corrected exponential average of the loss, gain 1/16.
        noise: standard deviation of the loss about the level before it, above 0; errors clipped at 5 of it.
        num_observed: losses seen.
    """

    _state = ("num_observed", "level", "noise", "_noise_variance", "_levels", "_means", "_variances")

    def __init__(self, max_horizon: int, far: int | None = None) -> None:
        assert max_horizon >= 1, f"max_horizon is {max_horizon}, it must be at least 1"
        assert far is None or far >= 1, f"far is {far}, it must be at least 1"
        self.max_horizon = max(max_horizon, far or 1)
        self.level = 0.0
        self.noise = _ABSOLUTE_FLOOR
        self.num_observed = 0
        self._far = far
        self._grid = horizon_grid(max_horizon, far)
        self._places = {horizon: place for place, horizon in enumerate(self._grid)}
        self._levels = [0.0] * (self.max_horizon + 1)  # level after observation n, at n modulo the length
        self._means = [0.0] * len(self._grid)  # of the outcomes at each horizon, the prior counted as zeros
        self._variances = [0.0] * len(self._grid)
        self._noise_variance = 0.0

    def observe(self, losses: FloatArray) -> TrendPath:
        """Take in the losses (n,) of full steps, finite numbers, and tell what was said along them."""
        rows = [self._observe(loss) for loss in losses.tolist()]
        return TrendPath(*np.array(rows, dtype=np.float64).reshape(-1, 6).T)

    def _observe(self, loss: float) -> tuple[float, ...]:
        """One loss; a row of `TrendPath`."""
        assert math.isfinite(loss), f"loss is {loss}; a skipped update is no observation"
        following = self._forecast(1) if self.num_observed else (math.nan, math.nan)
        self._resolve(loss)
        self._update_noise(loss)
        self.num_observed += 1
        self.level += (loss - self.level) * corrected_gain(_LEVEL_GAIN, self.num_observed)
        self.noise = max(math.sqrt(self._noise_variance), self._floor())
        self._levels[self.num_observed % len(self._levels)] = self.level
        far = (math.nan, math.nan) if self._far is None else self._forecast(self._far)
        return self.level, self.noise, *following, *far

    def _forecast(self, horizon: int) -> tuple[float, float]:
        """Mean and standard deviation of the loss, not of its change."""
        place = self._places[horizon]
        return self.level + self._means[place], self._scale_at(place)

    def copy(self) -> Self:
        """A twin that goes its own way from here."""
        twin = copy.copy(self)
        for name in ("_levels", "_means", "_variances"):
            setattr(twin, name, getattr(self, name).copy())
        return twin

    def at(self, horizon: int) -> tuple[float, float]:
        """Mean change from the level, and standard deviation, of the loss `horizon` steps on; in loss units."""
        place = self._places.get(horizon)
        if place is not None:
            return self._means[place], self._scale_at(place)
        means, scales = self._at_grid(horizon)
        return float(np.interp(horizon, self._grid, means)), float(np.interp(horizon, self._grid, scales))

    def curve(self, num: int, every: int = 1) -> tuple[FloatArray, FloatArray]:
        """The same at H = `num` horizons, `every` steps apart: means and scales, (H,) each."""
        means, scales = self._at_grid(num * every)
        steps = every * np.arange(1, num + 1)
        return np.interp(steps, self._grid, means), np.interp(steps, self._grid, scales)

    def _resolve(self, loss: float) -> None:
        """Enter the loss as outcome of the forecasts made 1, 2, 4, ... observations ago."""
        levels, means, variances = self._levels, self._means, self._variances
        size = len(levels)
        for place, horizon in enumerate(self._grid):
            origin = self.num_observed + 1 - horizon  # also the number of outcomes at this horizon, this one included
            if origin < 1:
                break
            gain = _GAINS[origin] if origin < len(_GAINS) else _LEAST_GAIN
            error = loss - levels[origin % size] - means[place]
            move = gain * error
            means[place] += move
            variances[place] = (1 - gain) * (variances[place] + error * move)

    def _update_noise(self, loss: float) -> None:
        if self.num_observed == 0:
            self._noise_variance = (_FIRST_NOISE * loss) ** 2
            return
        error = abs(loss - self.level)
        if self.num_observed > _NOISE_WARMUP:
            error = min(error, _NOISE_CLIP * self.noise)
        gain = corrected_gain(_NOISE_GAIN, self.num_observed)
        self._noise_variance += (error * error - self._noise_variance) * gain

    def _at_grid(self, horizon: int) -> tuple[list[float], list[float]]:
        """Means and scales at the grid's horizons, the prior fading as outcomes come in."""
        assert 1 <= horizon <= self.max_horizon, f"horizon is {horizon}, outside 1..{self.max_horizon}"
        return self._means, [self._scale_at(place) for place in range(len(self._grid))]

    def _scale_at(self, place: int) -> float:
        horizon = self._grid[place]
        num_outcomes = max(0, self.num_observed - horizon)
        prior = _PRIORS[num_outcomes] if num_outcomes < len(_PRIORS) else 0.0
        variance = self._variances[place] + prior * self.noise**2 * (1 + (horizon - 1) * _LEVEL_GAIN**2)
        return max(math.sqrt(variance), self._floor())

    def _floor(self) -> float:
        return max(_RELATIVE_FLOOR * abs(self.level), _ABSOLUTE_FLOOR)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`.

        Raises:
            CheckpointError: the state has other horizons.
        """
        for name, present in (("levels", self._levels), ("means", self._means)):
            if len(state[name]) != len(present):
                raise CheckpointError(
                    f"loss trend was saved with {len(state[name])} {name}, this one has {len(present)}; "
                    "use the settings of the saved run"
                )
        super().load_state_dict(state)


def horizon_grid(max_horizon: int, far: int | None = None) -> tuple[int, ...]:
    """Powers of two below `max_horizon`, `max_horizon` itself, and `far`; ascending."""
    powers = {2**k for k in range(max_horizon.bit_length()) if 2**k < max_horizon}
    return tuple(sorted({*powers, max_horizon, *(() if far is None else (far,))}))


def _gain_tables() -> tuple[list[float], list[float]]:
    """By the number of outcomes: gain of the last one (until it is constant), weight left to the prior (to 1e-9)."""
    gains = [0.0]
    priors = [1.0]
    while priors[-1] > 1e-9:
        count = len(priors)
        gains.append(max(_LEAST_GAIN, 4 / (count + 11)))
        priors.append(priors[-1] * (1 - gains[-1]))
    return gains, priors


_GAINS, _PRIORS = _gain_tables()
