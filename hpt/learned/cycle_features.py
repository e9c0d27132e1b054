"""Features of whole cycles: lengths of the trajectory's directions and angles between them.

d is the displacement over the cycle, E its average over cycles with weights w, for a short and a long time scale (the
smallest and the largest there is). |E|^2 is the sum of w^2 |d|^2, all that independent displacements would leave of it,
plus what their inner products add; the latter over its largest value is the mean cosine between the displacements in
E, the share of trend in the noise. Unlike the bare ratio of |E|^2 to its noise it does not grow as E fills up. Lengths
enter per unit of learning rate, or they would repeat its schedule. The first cycle, in which E = d, has none of these
features.

With a single time scale the places of the long one hold the short one's features averaged over about four cycles;
with a single parameter group the comparison of the first two groups gives way to the growth of d over two cycles and
the turning of E.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hpt.errors import ConfigError
from hpt.learned.facts import CycleFacts, FloatArray

CYCLE_NAMES = (
    *("short_angle", "short_size", "short_lagged_angle", "short_coherence"),
    *("long_angle", "long_size", "long_lagged_angle", "long_coherence"),
    *("trend_angle", "displacement_growth", "displacement_speed"),
    *("lagged_angle_slow", "group_displacement", "group_trend", "cycle_loss"),
)

_SMOOTHING = 1 / 4  # stands in for a second time scale
_ANGLE_GAIN = 1 / 10
_TINY = 1e-30
_LEAST_LR_FRAC = 1e-4


class CycleFeatures:
    """The features that change once a cycle.

    Attributes:
        values: the raw features in the order of `CYCLE_NAMES`, zeros until the end of the second cycle.
    """

    def __init__(self, num_groups: int, scales: tuple[float, ...]) -> None:
        self.values: tuple[float, ...] = (0.0,) * len(CYCLE_NAMES)
        self._num_groups = num_groups
        self._places = _short_and_long(scales)
        self._decays = [scales[place] for place in self._places]
        self._squares = [0.0] * len(self._places)  # sum of w^2 |d|^2, w the weights in E before bias correction
        self._lengths = [0.0] * len(self._places)  # sum of w |d|
        self._speeds = [0.0] * 3  # log |d| per learning rate of the last cycles, newest first
        self._cycle_loss = 0.0  # mean loss of the last cycle
        self._lagged_angle = 0.0
        self._loss_sum = self._lr_sum = 0.0  # of the cycle under way
        self._num_steps = 0

    def observe_step(self, loss: float, lr_frac: float) -> None:
        """Take in one full step of the cycle under way."""
        self._loss_sum += loss
        self._lr_sum += lr_frac
        self._num_steps += 1

    def observe(self, facts: CycleFacts, noise: float) -> None:
        """Take in a finished cycle; `noise` is the standard deviation of the loss noise."""
        gram = np.asarray(facts.gram, dtype=np.float64)
        total = gram.sum(axis=0)
        self._add_lengths(float(total[0, 0]))
        self._update_speeds(facts, float(total[0, 0]))
        loss_change = self._take_loss_change()
        if facts.cycle < 2:
            return
        short = self._scale(facts, total, 0)
        self.values = (
            *short,
            *(self._scale(facts, total, 1) if len(self._places) > 1 else self._smoothed(short)),
            self._trend_angle(facts, total),
            self._speeds[0] - self._speeds[1],
            self._speeds[0] - 0.5 * _log(float(np.square(facts.weight_norms).sum())),
            self._slow_angle(short[2]),
            *self._groups(facts, gram, total),
            loss_change / noise,
        )

    def _add_lengths(self, squared_norm: float) -> None:
        for which, mu in enumerate(self._decays):
            self._squares[which] = mu**2 * self._squares[which] + (1 - mu) ** 2 * squared_norm
            self._lengths[which] = mu * self._lengths[which] + (1 - mu) * math.sqrt(squared_norm)

    def _update_speeds(self, facts: CycleFacts, squared_norm: float) -> None:
        lr_frac = self._lr_sum / self._num_steps if self._num_steps else facts.lr_frac
        speed = 0.5 * _log(squared_norm) - math.log(max(lr_frac, _LEAST_LR_FRAC))
        self._speeds = [speed, *self._speeds[:-1]] if facts.cycle > 1 else [speed] * len(self._speeds)

    def _take_loss_change(self) -> float:
        """Mean loss of the cycle minus that of the one before; the sums start again."""
        mean = self._loss_sum / self._num_steps if self._num_steps else self._cycle_loss
        change = mean - self._cycle_loss
        self._cycle_loss, self._loss_sum, self._lr_sum, self._num_steps = mean, 0.0, 0.0, 0
        return change

    def _scale(self, facts: CycleFacts, total: FloatArray, which: int) -> tuple[float, ...]:
        """Of one time scale: cos(d, E), log |E| / |d|, cos(d, E before this cycle), mean cosine within E."""
        place, correction = self._places[which], 1 - self._decays[which] ** facts.cycle
        squared, squared_d = float(total[1 + place, 1 + place]), float(total[0, 0])
        lagged, squared_before = float(facts.lagged[:, place].sum()), float(facts.lagged_norms[:, place].sum())
        own = self._squares[which] / correction**2
        return (
            _cosine(float(total[0, 1 + place]), squared_d, squared),
            0.5 * (_log(squared) - _log(squared_d)),
            _cosine(lagged, squared_d, squared_before),
            (squared - own) / max((self._lengths[which] / correction) ** 2 - own, _TINY),
        )

    def _smoothed(self, short: tuple[float, ...]) -> tuple[float, ...]:
        """The short scale's features averaged over about four cycles, for want of a long scale."""
        if not any(self.values):
            return short
        before = self.values[4:8]
        return tuple(old + (new - old) * _SMOOTHING for old, new in zip(before, short, strict=True))

    def _slow_angle(self, lagged_angle: float) -> float:
        """The short scale's lagged angle averaged over about ten cycles."""
        gain = _ANGLE_GAIN if any(self.values) else 1.0
        self._lagged_angle += (lagged_angle - self._lagged_angle) * gain
        return self._lagged_angle

    def _trend_angle(self, facts: CycleFacts, total: FloatArray) -> float:
        """Cosine between the short and the long E; of a single E, how much longer it has grown in this cycle."""
        short, long = 1 + self._places[0], 1 + self._places[-1]
        if short != long:
            return _cosine(float(total[short, long]), float(total[short, short]), float(total[long, long]))
        return 0.5 * (_log(float(total[short, short])) - _log(float(facts.lagged_norms.sum())))

    def _groups(self, facts: CycleFacts, gram: FloatArray, total: FloatArray) -> tuple[float, float]:
        """Log ratio of the first two groups' |d|, and difference of their lagged angles; see above for one group."""
        if self._num_groups == 1:
            return self._speeds[0] - self._speeds[2], self._turning(facts, total)
        place = self._places[0]
        angles = [
            _cosine(
                float(facts.lagged[group, place]),
                float(gram[group, 0, 0]),
                float(facts.lagged_norms[group, place]),
            )
            for group in (0, 1)
        ]
        return 0.5 * (_log(float(gram[0, 0, 0])) - _log(float(gram[1, 0, 0]))), angles[0] - angles[1]

    def _turning(self, facts: CycleFacts, total: FloatArray) -> float:
        """Cosine between the short E and itself a cycle before, from E = (1-mu) d + mu E_before, bias-corrected."""
        place, mu, cycle = self._places[0], self._decays[0], facts.cycle
        lagged, squared_before = float(facts.lagged[:, place].sum()), float(facts.lagged_norms[:, place].sum())
        inner = ((1 - mu) * lagged + (mu - mu**cycle) * squared_before) / (1 - mu**cycle)
        return _cosine(inner, float(total[1 + place, 1 + place]), squared_before)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        return {
            "values": list(self.values),
            "squares": list(self._squares),
            "lengths": list(self._lengths),
            "speeds": list(self._speeds),
            **{name: getattr(self, f"_{name}") for name in _NUMBERS},
            "num_steps": self._num_steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.values = tuple(float(value) for value in state["values"])
        self._squares = [float(value) for value in state["squares"]]
        self._lengths = [float(value) for value in state["lengths"]]
        self._speeds = [float(value) for value in state["speeds"]]
        for name in _NUMBERS:
            setattr(self, f"_{name}", float(state[name]))
        self._num_steps = int(state["num_steps"])


_NUMBERS = ("cycle_loss", "lagged_angle", "loss_sum", "lr_sum")


def _short_and_long(scales: tuple[float, ...]) -> list[int]:
    """Places of the smallest and the largest time scale; one place if they are one. At 0, E is d and tells nothing."""
    usable = [place for place, mu in enumerate(scales) if mu > 0]
    if not usable:
        raise ConfigError(
            f"trajectory.scales is {scales}, but the features need a time scale above 0; add one, such as 0.8"
        )
    return sorted({min(usable, key=scales.__getitem__), max(usable, key=scales.__getitem__)}, key=scales.__getitem__)


def _log(number: float) -> float:
    return math.log(max(number, _TINY))


def _cosine(inner: float, squared_one: float, squared_other: float) -> float:
    return inner / math.sqrt(max(squared_one * squared_other, _TINY))
