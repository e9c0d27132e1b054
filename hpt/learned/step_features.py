"""Features of single full steps: the loss, its noise, the gradients, the groups, the learning rate.

Averages are exponential, free of start-up bias, with a time scale in steps (1 / gain). The unit of loss differences is
`noise`, the standard deviation (scale 64) of a loss about the average of scale 16 before it. Except for the loss,
levels enter as differences between time scales or as ratios: a level that falls all run long says no more than the
step does. For the same reason the learning rate enters through its product with the gradient norm: under linear decay,
alone, it is the step again, and constant it would be dead.

Steps come in blocks. Only the averages walk from step to step; everything else is one pass over arrays of n numbers.
With one parameter group the balance of the first two groups gives way to the change of the gradient over two steps,
with fewer than three that of the second two to the balance's own change over three.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, isfinite, log, log1p

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from hpt.history import FloatArray, StepStats
from hpt.numerics.running import EmaBank
from hpt.numerics.stateful import Stateful

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


@dataclass(frozen=True, slots=True)
class StepRows:
    """n steps.

    Attributes:
        values: (n, 43) raw features in the order of `STEP_NAMES`.
        noise: (n,) standard deviation of the loss noise after each step, loss units, above 0.
        level_before: (n,) level of the loss (average of scale 16) before each step.
        fast_loss: (n,) average of scale 4, the step included.
    """

    values: FloatArray
    noise: FloatArray
    level_before: FloatArray
    fast_loss: FloatArray


class StepFeatures(Stateful):
    """The features that change every step.

    Attributes:
        num_steps: steps seen.
        noise: standard deviation of the loss noise, loss units, above 0.
    """

    _state = (
        *("num_steps", "noise", "_bank", "_lowest_loss", "_lowest_step", "_streak"),
        *("_recent", "_loss", "_grads", "_balances", "_noises", "_grad_noise"),
    )

    def __init__(self) -> None:
        self.num_steps = 0
        self.noise = 1.0
        self._bank = EmaBank(1 / np.array(_SCALES, dtype=np.float64))
        self._lowest_loss, self._lowest_step = float("inf"), 0
        self._streak = 0  # losses in a row above (positive) or below the average of scale 16 before them
        self._recent = np.full((2, _WINDOW - 1), np.nan)  # losses and log gradient norms to rank the next among
        # What went before the next step, oldest first; at the start a past equal to the first step.
        self._loss = np.zeros(1)
        self._grads = np.zeros(2)
        self._balances = np.zeros(_OTHER_LAG)  # log ratio of the first two groups' gradient norms
        self._noises = np.zeros(4)
        self._grad_noise = np.zeros(1)

    def observe(self, steps: StepStats) -> StepRows:
        """Take in full steps."""
        loss, grad = steps.loss, self._log_norms(steps.grad_norm)
        if self.num_steps == 0:
            self._loss[:], self._grads[:] = loss[0], grad[0]
        balance = self._balance(steps, grad)
        if self.num_steps == 0:
            self._balances[:] = balance[0]
        before = self._before(loss, grad, balance)
        noise, grad_noise, group_noise = loss - before[0], grad - before[1], balance - before[2]
        inputs = self._inputs(steps, grad, balance, (noise, grad_noise, group_noise))
        rows = np.ascontiguousarray(self._bank.scan(inputs).T)
        unit = np.maximum(np.maximum(np.sqrt(rows[_NOISE]), 1e-6 * np.abs(rows[_LOSS_64])), 1e-12)
        values = self._values(steps, grad, balance, noise, rows, unit)
        self._remember(loss, grad, balance, noise, grad_noise)
        self.noise = float(unit[-1])
        return StepRows(values.T, unit, before[0], rows[_LOSS_4])

    def _log_norms(self, norms: FloatArray) -> FloatArray:
        """Log of each norm, floored; of a step whose gradients nobody measured, that of the step before."""
        if bool(np.isfinite(norms).all()):
            return _each(log, np.maximum(norms, _TINY))
        last, logs = float(self._grads[-1]), list[float]()
        for norm in norms.tolist():
            if isfinite(norm):
                last = log(norm if norm > _TINY else _TINY)
            logs.append(last)
        return np.array(logs)

    def _balance(self, steps: StepStats, grad: FloatArray) -> FloatArray:
        """Log ratio of the first two groups' gradient norms; of one group, its norm's change over two steps."""
        if steps.group_grad_norms.shape[1] == 1:
            return np.abs(grad - _lagged(self._grads, grad, 2))
        return _log_ratio(steps.group_grad_norms, 0, 1)

    def _other_balance(self, steps: StepStats, balance: FloatArray) -> FloatArray:
        """Log ratio of the third group's to the second's; of fewer groups, the balance's change over three steps."""
        if steps.group_grad_norms.shape[1] > 2:
            return _log_ratio(steps.group_grad_norms, 2, 1)
        return balance - _lagged(self._balances, balance, _OTHER_LAG)

    def _before(self, loss: FloatArray, grad: FloatArray, balance: FloatArray) -> FloatArray:
        """Averages (3, n) of loss (scale 16), log norm (8) and balance (16) as they were before each step."""
        places = [_LOSS_16, _GRAD_8, _GROUP_16]
        one, two, three = self._bank.values[places].tolist() if self.num_steps else (loss[0], grad[0], balance[0])
        start = (one, two, three)
        if not self.num_steps:
            one = two = three = 0.0
        found = [start]
        inputs, gains = np.stack((loss, grad, balance), axis=1), self._bank.rates(len(loss))[:, places]
        for (x, y, z), (gain_x, gain_y, gain_z) in zip(inputs[:-1].tolist(), gains[:-1].tolist(), strict=True):
            one += (x - one) * gain_x
            two += (y - two) * gain_y
            three += (z - three) * gain_z
            found.append((one, two, three))
        return np.array(found).T

    def _inputs(
        self, steps: StepStats, grad: FloatArray, balance: FloatArray, noises: tuple[FloatArray, FloatArray, FloatArray]
    ) -> FloatArray:
        """What each average of `_SCALES` takes in, (n, 34)."""
        (noise, grad_noise, group_noise), loss = noises, steps.loss
        grad_noise_1 = _lagged(self._grad_noise, grad_noise, 1)
        lr_grad = _each(log, np.maximum(steps.lr_frac, _LEAST_LR_FRAC)) + grad
        variance = noise * noise
        rows = np.empty((len(_SCALES), len(loss)))
        rows[:8], rows[8:12], rows[12:16] = loss, grad, variance
        rows[16] = variance * noise
        for place, lag in ((17, 1), (18, 2), (19, 4)):
            np.multiply(noise, _lagged(self._noises, noise, lag), rows[place])
        rows[20:22], rows[22] = grad_noise * grad_noise, grad_noise * grad_noise_1
        rows[23], rows[24] = noise * grad_noise, noise * grad_noise_1
        rows[25:27], rows[27], rows[28] = balance, group_noise * group_noise, group_noise * noise
        rows[29] = self._other_balance(steps, balance)
        rows[30] = np.sign(_lagged(self._loss, loss, 1) - loss)
        rows[31:33], rows[33] = lr_grad, _each(exp, lr_grad)
        return np.ascontiguousarray(rows.T)

    def _values(
        self,
        steps: StepStats,
        grad: FloatArray,
        balance: FloatArray,
        noise: FloatArray,
        rows: FloatArray,
        unit: FloatArray,
    ) -> FloatArray:
        """Features (43, n) in the order of `STEP_NAMES`."""
        values = np.empty((len(STEP_NAMES), len(noise)))
        lowest, since_lowest = self._lowest(steps.loss)
        loss_variance, grad_variance = np.maximum(rows[14], _TINY), np.maximum(rows[21], _TINY)
        spread = np.sqrt(np.maximum(rows[27], _TINY))
        logs = self._logs(rows, unit, spread, grad_variance)
        values[0] = steps.loss
        values[1:9] = self._gaps(steps.loss, rows[:8]) * (1 / unit)
        values[9] = (rows[_LOSS_4] - lowest) / unit
        values[[10, 37]] = _each(log1p, np.concatenate((since_lowest, steps.step.astype(np.float64))).reshape(2, -1))
        values[[11, 26]] = self._ranks(np.concatenate((steps.loss, grad)).reshape(2, -1))
        values[12], values[13] = self._streaks(noise), rows[_FALLS]
        values[14:17] = logs[:3]
        values[17] = rows[16] / _each(_cube, unit)
        values[18:21] = rows[17:20] / loss_variance
        values[21] = grad
        values[22:26] = self._gaps(grad, rows[8:12])
        values[27:29] = logs[3:5]
        values[29] = rows[22] / grad_variance
        values[30:32] = rows[23:25] / np.maximum(unit * np.sqrt(grad_variance), _TINY)
        values[32:34] = self._gaps(balance, rows[25:27])
        values[34], values[35], values[36] = logs[5], rows[28] / (unit * spread), rows[29]
        values[38], values[39] = rows[31], rows[31] - rows[32]
        values[40], values[41] = logs[6] - rows[_GRAD_32], logs[7]
        values[42] = (rows[_LOSS_64] - rows[_LOSS_16]) / np.maximum(rows[33], _TINY)
        return values

    @staticmethod
    def _gaps(newest: FloatArray, averages: FloatArray) -> FloatArray:
        """From the number itself to its fastest average, and on from each average to the next slower one."""
        gaps = np.empty_like(averages)
        np.subtract(newest, averages[0], gaps[0])
        np.subtract(averages[:-1], averages[1:], gaps[1:])
        return gaps

    @staticmethod
    def _logs(rows: FloatArray, unit: FloatArray, spread: FloatArray, grad_variance: FloatArray) -> FloatArray:
        """Logarithms (8, n): standard deviations of the noises over one another, and of what is compared with them."""
        numbers = np.empty((8, len(unit)))
        floored = np.maximum(rows[12:16], _TINY)
        np.divide(floored[:2], floored[2:], numbers[:2])
        np.divide(unit, np.maximum(np.abs(rows[_LOSS_64]), _TINY), numbers[2])
        np.divide(np.maximum(rows[20], _TINY), grad_variance, numbers[3])
        numbers[4], numbers[5], numbers[6] = grad_variance, spread, unit
        numbers[7] = np.abs(rows[_LOSS_16] - rows[_LOSS_64]) / unit + 0.01
        logs = _each(log, numbers)
        logs[:2] *= 0.5
        logs[3:5] *= 0.5
        return logs

    def _lowest(self, loss: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Lowest loss so far at each step, and steps since it was reached."""
        steps = np.arange(self.num_steps + 1, self.num_steps + 1 + len(loss))
        lowest = np.minimum.accumulate(np.concatenate(([self._lowest_loss], loss)))
        reached = np.maximum.accumulate(np.where(loss < lowest[:-1], steps, self._lowest_step))
        self._lowest_loss, self._lowest_step = float(lowest[-1]), int(reached[-1])
        return lowest[1:], (steps - reached).astype(np.float64)

    def _ranks(self, numbers: FloatArray) -> FloatArray:
        """Share of the last 64, itself included, below each of (2, n) numbers, equals counted half; in (0, 1)."""
        series = np.concatenate((self._recent, numbers), axis=1)
        windows, own = sliding_window_view(series, _WINDOW, axis=1), numbers[..., None]
        twice = np.add((windows < own).view(np.int8), (windows <= own).view(np.int8)).sum(axis=2, dtype=np.int16)
        sizes = np.minimum(_WINDOW, np.arange(self.num_steps + 1, self.num_steps + 1 + numbers.shape[1]))
        self._recent[:] = series[:, 1 - _WINDOW :]
        return twice / (2 * sizes)

    def _streaks(self, noise: FloatArray) -> FloatArray:
        """Signed number of noises in a row with the same sign, each step's included; 0 after a zero."""
        length, lengths = self._streak, list[int]()
        for sign in np.sign(noise).astype(np.int64).tolist():
            length = length + sign if length * sign > 0 else sign
            lengths.append(length)
        self._streak = length
        return np.array(lengths, dtype=np.float64)

    def _remember(self, *series: FloatArray) -> None:
        """The newest of loss, log norm, balance and the two noises."""
        for kept, new in zip(
            (self._loss, self._grads, self._balances, self._noises, self._grad_noise), series, strict=True
        ):
            kept[:] = np.concatenate((kept, new))[-len(kept) :]
        self.num_steps += len(series[0])


def _lagged(before: FloatArray, series: FloatArray, lag: int) -> FloatArray:
    """The series `lag` places earlier, reaching back into what was before it."""
    return np.concatenate((before[len(before) - lag :], series))[: len(series)]


def _log_ratio(norms: FloatArray, one: int, other: int) -> FloatArray:
    """Log ratio of two groups' norms, (n, G); a norm that nobody measured counts as 1."""
    pair = norms.T[[one, other]]
    logs = _each(log, np.maximum(np.where(np.isfinite(pair), pair, 1.0), _TINY))
    return logs[0] - logs[1]


def _each(function: Callable[[float], float], numbers: FloatArray) -> FloatArray:
    """A function of the C library on every number; numpy's own differ in the last bit from processor to processor."""
    return np.fromiter(map(function, numbers.ravel().tolist()), np.float64, numbers.size).reshape(numbers.shape)


def _cube(number: float) -> float:
    return number**3
