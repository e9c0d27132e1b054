"""Features of single full steps: the loss, its noise, the gradients, the groups, the learning rate.

Averages are exponential, free of start-up bias, with a time scale in steps (1 / gain). The unit of loss differences is
`noise`, the standard deviation (scale 64) of a loss about the average of scale 16 before it. Except for the loss,
levels enter as differences between time scales or as ratios: a level that falls all run long says no more than the
step does. For the same reason the learning rate enters through its product with the gradient norm: under linear decay,
alone, it is the step again, and constant it would be dead.
"""

from collections import deque
from collections.abc import Mapping
from math import copysign, exp, isfinite, log, log1p, sqrt
from typing import Any

import numpy as np

from hpt.learned.facts import StepFacts
from hpt.learned.history import RankWindow, StepHistory
from hpt.numerics.running import EmaBank

STEP_NAMES = (
    *("loss", "loss_now_2", "loss_2_4", "loss_4_8", "loss_8_16"),
    *("loss_16_32", "loss_32_64", "loss_64_128", "loss_128_256"),
    *("loss_above_low", "loss_since_low", "loss_rank", "loss_streak", "loss_falls"),
    *("loss_spread_8", "loss_spread_32", "loss_noise", "loss_skew"),
    *("loss_acf_1", "loss_acf_2", "loss_acf_4"),
    *("grad", "grad_now_2", "grad_2_8", "grad_8_32", "grad_32_128"),
    *("grad_rank", "grad_spread_16", "grad_spread", "grad_acf_1", "grad_loss", "grad_loss_lag"),
    *("group_fast", "group_slow", "group_spread", "group_loss", "group_other"),
    *("log_step", "lr_grad", "lr_grad_change"),
    *("noise_per_grad", "trend_strength", "descent_per_grad"),
)

_SCALES = (
    *(2, 4, 8, 16, 32, 64, 128, 256),  # loss
    *(2, 8, 32, 128),  # log gradient norm
    *(8, 32, 64, 128),  # squared loss noise
    *(64, 64, 64, 64),  # its cube, and its products with itself 1, 2, 4 steps before
    *(16, 64, 64),  # squared gradient noise, and its product with itself a step before
    *(64, 64),  # loss noise x gradient noise, of this step and of the one before
    *(16, 128, 64, 64, 16),  # group balance, its squared noise, that noise x loss noise; the other balance
    *(32, 2, 64, 64),  # share of falls; log (learning rate x gradient norm), twice, and that product itself
)
_LOSS_4, _LOSS_16, _LOSS_64, _GRAD_8, _GRAD_32, _NOISE, _GROUP_16, _FALLS = 1, 3, 5, 9, 10, 14, 25, 30
_WINDOW = 64  # steps among which a loss or gradient norm is ranked
_OTHER_LAG = 3  # steps over which the group balance's change is taken where there is no third group
_LEAST_LR_FRAC = 1e-4
_TINY = 1e-30


class StepFeatures:
    """The features that change every step.

    Attributes:
        values: the raw features in the order of `STEP_NAMES`.
        noise: standard deviation of the loss noise, loss units, above 0.
        level_before: level of the loss (average of scale 16) before the last step.
        fast_loss: average of scale 4, the last step included.
        history: the last steps.
    """

    def __init__(self, num_groups: int) -> None:
        self.values: tuple[float, ...] = (0.0,) * len(STEP_NAMES)
        self.noise = 1.0
        self.level_before = self.fast_loss = 0.0
        self.history = StepHistory(_WINDOW)
        self._num_groups = num_groups
        self._bank = EmaBank(1 / np.array(_SCALES, dtype=np.float64))
        self._averages = self._bank.values.tolist()
        self._loss_ranks = RankWindow(_WINDOW)
        self._grad_ranks = RankWindow(_WINDOW)
        self._losses = _last(2)  # newest first, like the four below
        self._grads = _last(3)  # log gradient norms
        self._balances = _last(_OTHER_LAG + 1)  # log ratio of the first two groups' gradient norms
        self._loss_noises = _last(5)
        self._grad_noises = _last(2)
        self._streak = 0  # losses in a row above (positive) or below the average of scale 16 before them

    def observe(self, facts: StepFacts) -> None:
        """Take in one full step and bring `values` up to date."""
        if self._bank.count == 0:
            self._start(facts)
        self._remember(facts)
        averages = self._averages = self._bank.push(self._inputs(facts))
        self.fast_loss = averages[_LOSS_4]
        level = abs(averages[_LOSS_64])
        self.noise = max(sqrt(averages[_NOISE]), 1e-6 * level, 1e-12)
        self.values = (
            *self._loss_scales(facts.loss, averages),
            *self._loss_events(facts.loss, averages),
            *self._loss_noise(level, averages),
            *self._gradients(averages),
            *self._groups(averages),
            *self._schedule(facts.step, averages),
        )

    def _start(self, facts: StepFacts) -> None:
        """Let the first step find a past equal to itself, so that nothing has changed by it."""
        self._losses.extend([facts.loss] * len(self._losses))
        self._grads.extend([_log_norm(facts.grad_norm, 0.0)] * len(self._grads))
        self._balances.extend([self._balance(facts, self._grads[0])] * len(self._balances))
        self._averages[_LOSS_16] = facts.loss
        self._averages[_GRAD_8] = self._grads[0]
        self._averages[_GROUP_16] = self._balances[0]

    def _remember(self, facts: StepFacts) -> None:
        """Note the step and its noises about the averages before it."""
        before, loss = self._averages, facts.loss
        self.level_before = before[_LOSS_16]
        grad = _log_norm(facts.grad_norm, self._grads[0])
        self.history.record_step(loss, facts.grad_norm, facts.lr_frac)
        noise = loss - before[_LOSS_16]
        self._losses.appendleft(loss)
        self._balances.appendleft(self._balance(facts, grad))
        self._grads.appendleft(grad)
        self._loss_noises.appendleft(noise)
        self._grad_noises.appendleft(grad - before[_GRAD_8])
        self._streak = _streak(self._streak, noise)

    def _balance(self, facts: StepFacts, grad: float) -> float:
        """Log ratio of the first two groups' gradient norms; of one group, its norm's change over two steps."""
        if self._num_groups == 1:
            return abs(grad - self._grads[1])
        return _log_norm(facts.group_grad_norms[0], 0.0) - _log_norm(facts.group_grad_norms[1], 0.0)

    def _other_balance(self, facts: StepFacts) -> float:
        """Log ratio of the third group's to the second's; of fewer groups, the balance's change over three steps."""
        if self._num_groups > 2:
            return _log_norm(facts.group_grad_norms[2], 0.0) - _log_norm(facts.group_grad_norms[1], 0.0)
        return self._balances[0] - self._balances[_OTHER_LAG]

    def _inputs(self, facts: StepFacts) -> tuple[float, ...]:
        """What each average of `_SCALES` takes in."""
        loss, grad, balance = self._losses[0], self._grads[0], self._balances[0]
        noise, noise_1, noise_2, _, noise_4 = self._loss_noises
        grad_noise, grad_noise_1 = self._grad_noises
        group_noise = balance - self._averages[_GROUP_16]
        variance = noise * noise
        lr_frac = max(facts.lr_frac, _LEAST_LR_FRAC)
        lr_grad = log(lr_frac) + grad
        return (
            *(loss, loss, loss, loss, loss, loss, loss, loss),
            *(grad, grad, grad, grad),
            *(variance, variance, variance, variance),
            *(variance * noise, noise * noise_1, noise * noise_2, noise * noise_4),
            *(grad_noise * grad_noise, grad_noise * grad_noise, grad_noise * grad_noise_1),
            *(noise * grad_noise, noise * grad_noise_1),
            *(balance, balance, group_noise * group_noise, group_noise * noise, self._other_balance(facts)),
            *(_sign(self._losses[1] - loss), lr_grad, lr_grad, exp(lr_grad)),
        )

    def _loss_scales(self, loss: float, averages: list[float]) -> tuple[float, ...]:
        """The loss, and what lies between it and its averages, scale by scale."""
        unit = 1 / self.noise
        at_2, at_4, at_8, at_16, at_32, at_64, at_128, at_256 = averages[:8]
        return (
            loss,
            (loss - at_2) * unit,
            (at_2 - at_4) * unit,
            (at_4 - at_8) * unit,
            (at_8 - at_16) * unit,
            (at_16 - at_32) * unit,
            (at_32 - at_64) * unit,
            (at_64 - at_128) * unit,
            (at_128 - at_256) * unit,
        )

    def _loss_events(self, loss: float, averages: list[float]) -> tuple[float, ...]:
        """Height above the lowest loss and time since, rank, streak, share of falling steps."""
        history = self.history
        return (
            (averages[_LOSS_4] - history.lowest_loss) / self.noise,
            log1p(history.steps_since_lowest),
            self._loss_ranks.push(loss),
            float(self._streak),
            averages[_FALLS],
        )

    def _loss_noise(self, level: float, averages: list[float]) -> tuple[float, ...]:
        """Size of the noise at several scales, its asymmetry, and its memory."""
        at_8, at_32, at_64, at_128, cube, lag_1, lag_2, lag_4 = averages[12:20]
        variance = at_64 if at_64 > _TINY else _TINY
        return (
            _half_log_ratio(at_8, at_64),
            _half_log_ratio(at_32, at_128),
            log(self.noise / max(level, _TINY)),
            cube / self.noise**3,
            lag_1 / variance,
            lag_2 / variance,
            lag_4 / variance,
        )

    def _gradients(self, averages: list[float]) -> tuple[float, ...]:
        """The gradient norm at several scales, its noise, and how that goes with the loss's."""
        grad = self._grads[0]
        at_2, at_8, at_32, at_128 = averages[8:12]
        at_16, at_64, lag_1, with_loss, with_next_loss = averages[20:25]
        variance = at_64 if at_64 > _TINY else _TINY
        joint = max(self.noise * sqrt(variance), _TINY)
        return (
            grad,
            grad - at_2,
            at_2 - at_8,
            at_8 - at_32,
            at_32 - at_128,
            self._grad_ranks.push(grad),
            _half_log_ratio(at_16, at_64),
            0.5 * log(variance),
            lag_1 / variance,
            with_loss / joint,
            with_next_loss / joint,
        )

    def _groups(self, averages: list[float]) -> tuple[float, ...]:
        """Balance between the parameter groups' gradients, fast and slow, and whether it goes with the loss."""
        at_16, at_128, variance, with_loss, other = averages[25:30]
        spread = sqrt(max(variance, _TINY))
        return (
            self._balances[0] - at_16,
            at_16 - at_128,
            log(spread),
            with_loss / (self.noise * spread),
            other,
        )

    def _schedule(self, step: int, averages: list[float]) -> tuple[float, ...]:
        """The step, the learning rate with the gradient it multiplies, and what the two bring about."""
        slow, fast = averages[_LOSS_64], averages[_LOSS_16]
        lr_grad, lr_grad_slow, path = averages[31:34]
        return (
            log1p(step),
            lr_grad,
            lr_grad - lr_grad_slow,
            log(self.noise) - averages[_GRAD_32],
            log(abs(fast - slow) / self.noise + 0.01),
            (slow - fast) / max(path, _TINY),
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        return {
            "history": self.history.state_dict(),
            "bank": self._bank.state_dict(),
            "loss_ranks": self._loss_ranks.state_dict(),
            "grad_ranks": self._grad_ranks.state_dict(),
            "values": list(self.values),
            **{name: list(getattr(self, f"_{name}")) for name in _LISTS},
            "noise": self.noise,
            "level_before": self.level_before,
            "fast_loss": self.fast_loss,
            "streak": self._streak,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.history.load_state_dict(state["history"])
        self._bank.load_state_dict(state["bank"])
        self._loss_ranks.load_state_dict(state["loss_ranks"])
        self._grad_ranks.load_state_dict(state["grad_ranks"])
        self._averages = self._bank.values.tolist()
        self.values = tuple(float(value) for value in state["values"])
        for name in _LISTS:
            getattr(self, f"_{name}").extend(float(number) for number in state[name])
        self.noise, self._streak = float(state["noise"]), int(state["streak"])
        self.level_before, self.fast_loss = float(state["level_before"]), float(state["fast_loss"])


_LISTS = ("losses", "grads", "balances", "loss_noises", "grad_noises")


def _last(size: int) -> deque[float]:
    return deque([0.0] * size, maxlen=size)


def _log_norm(norm: float, unknown: float) -> float:
    """Log of a norm, floored; `unknown` where there is none (a step whose gradients nobody measured)."""
    return log(norm if norm > _TINY else _TINY) if isfinite(norm) else unknown


def _half_log_ratio(one: float, other: float) -> float:
    """Log of the ratio of two standard deviations, given their squares."""
    return 0.5 * log((one if one > _TINY else _TINY) / (other if other > _TINY else _TINY))


def _sign(number: float) -> float:
    return copysign(1.0, number) if number else 0.0


def _streak(length: int, deviation: float) -> int:
    """Signed number of deviations in a row with the same sign, this one included; 0 after a zero."""
    sign = int(_sign(deviation))
    return length + sign if length * sign > 0 else sign
