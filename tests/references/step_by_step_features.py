"""The features of steps and jumps taken in one step at a time, number by number: the slow twin of `FeatureEncoder`."""

import math
from bisect import bisect_left, bisect_right
from collections import deque
from itertools import pairwise

import numpy as np

from hpt.history import NEVER, StepStats
from hpt.jump.stats import CycleStats, JumpOutcome
from hpt.learned.cycle_features import CycleFeatures

TINY = 1e-30
SCALES = (
    *(2, 4, 8, 16, 32, 64, 128, 256, 2, 8, 32, 128, 8, 32, 64, 128, 64, 64, 64, 64),
    *(16, 64, 64, 64, 64, 16, 128, 64, 64, 16, 32, 2, 64, 64),
)


class SlowEncoder:
    """64 features; call `vector` after every step."""

    def __init__(self, num_groups: int, cycle_steps: int) -> None:
        self.num_groups, self.cycle_steps = num_groups, cycle_steps
        self.averages, self.lacking = [0.0] * len(SCALES), [1.0] * len(SCALES)
        self.losses: list[float] = []
        self.grads: list[float] = []
        self.balances: list[float] = []
        self.noises, self.grad_noises = deque([0.0] * 5, 5), deque([0.0] * 2, 2)  # newest first
        self.streak, self.noise = 0, 1.0
        self.since, self.anchor, self.settling = math.inf, 0.0, 0.0
        self.size = self.effect = self.gain = self.verdicts = 0.0
        self.has_jumped = False
        self.cycles = CycleFeatures()
        self.raw, self.means, self.variances = ([0.0] * 64 for _ in range(3))
        self.means[37], self.variances[37] = 6.0, 4.0  # log_step
        self.moves = {"step": 0, "jump": 0, "cycle": 0}

    def observe_step(self, steps: StepStats) -> None:
        """Take in a block of one step."""
        loss, before = float(steps.loss[0]), list(self.averages)
        grad = log_norm(float(steps.grad_norm[0]), self.grads[-1] if self.grads else 0.0)
        groups = [log_norm(float(norm), 0.0) for norm in steps.group_grad_norms[0]]
        back = [grad, grad, *self.grads] if not self.grads else [self.grads[0], *self.grads]
        balance = abs(grad - back[-2]) if self.num_groups == 1 else groups[0] - groups[1]
        if not self.losses:
            before[3], before[9], before[25] = loss, grad, balance
        past = [balance] * 3 if not self.balances else [self.balances[0]] * 2 + self.balances
        other = groups[2] - groups[1] if self.num_groups > 2 else balance - past[-3]
        fall = (self.losses[-1] if self.losses else loss) - loss
        self.losses.append(loss)
        self.grads.append(grad)
        self.balances.append(balance)
        self.noises.appendleft(loss - before[3])
        self.grad_noises.appendleft(grad - before[9])
        self.push(loss, grad, balance, balance - before[25], other, fall, float(steps.lr_frac[0]))
        sign = int(np.sign(self.noises[0]))
        self.streak = self.streak + sign if self.streak * sign > 0 else sign
        self.cycles.observe_steps(steps)
        self.jump_step(steps, before[3])
        recency = math.exp(-self.since / self.cycle_steps)
        jumps = [recency, self.settling, self.size, self.effect, self.gain, self.verdicts]
        self.raw[:49] = [*self.step_values(int(steps.step[0])), *jumps]
        if len(self.losses) > 8:
            self.rescale("step", [place for place in range(45) if place != 37])
            if self.has_jumped:
                self.rescale("jump", list(range(45, 49)))
            else:
                self.raw[45:49] = [self.size, self.effect, self.gain, self.verdicts]

    def push(
        self, loss: float, grad: float, balance: float, group: float, other: float, fall: float, lr: float
    ) -> None:
        """Update the 34 averages."""
        noise, noise_1, noise_2, _, noise_4 = self.noises
        grad_noise, grad_noise_1 = self.grad_noises
        lr_grad = math.log(max(lr, 1e-4)) + grad
        inputs = [
            *([loss] * 8 + [grad] * 4 + [noise * noise] * 4),
            *(noise * noise * noise, noise * noise_1, noise * noise_2, noise * noise_4),
            *(grad_noise * grad_noise, grad_noise * grad_noise, grad_noise * grad_noise_1),
            *(noise * grad_noise, noise * grad_noise_1, balance, balance, group * group, group * noise, other),
            *(float(np.sign(fall)), lr_grad, lr_grad, math.exp(lr_grad)),
        ]
        for place, (number, scale) in enumerate(zip(inputs, SCALES, strict=True)):
            self.lacking[place] *= 1 - 1 / scale
            rate = (1 / scale) / (1 - self.lacking[place])
            self.averages[place] += (number - self.averages[place]) * rate
        self.noise = max(math.sqrt(self.averages[14]), 1e-6 * abs(self.averages[5]), 1e-12)

    def step_values(self, step: int) -> list[float]:
        """The 43 step features."""
        a, unit, loss, grad = self.averages, self.noise, self.losses[-1], self.grads[-1]
        variance, grad_variance = max(a[14], TINY), max(a[21], TINY)
        joint = max(unit * math.sqrt(grad_variance), TINY)
        spread = math.sqrt(max(a[27], TINY))
        lowest = self.losses.index(min(self.losses))
        heights = [loss, *a[:8]]
        return [
            *(loss, *((one - other) * (1 / unit) for one, other in pairwise(heights))),
            *((a[1] - min(self.losses)) / unit, math.log1p(len(self.losses) - 1 - lowest), rank(self.losses)),
            *(float(self.streak), a[30], half_log(a[12], a[14]), half_log(a[13], a[15])),
            *(math.log(unit / max(abs(a[5]), TINY)), a[16] / unit**3),
            *(a[17] / variance, a[18] / variance, a[19] / variance),
            *(grad, grad - a[8], a[8] - a[9], a[9] - a[10], a[10] - a[11], rank(self.grads)),
            *(half_log(a[20], a[21]), 0.5 * math.log(grad_variance), a[22] / grad_variance),
            *(a[23] / joint, a[24] / joint, self.balances[-1] - a[25], a[25] - a[26], math.log(spread)),
            *(a[28] / (unit * spread), a[29], math.log1p(step), a[31], a[31] - a[32], math.log(unit) - a[10]),
            *(math.log(abs(a[3] - a[5]) / unit + 0.01), (a[5] - a[3]) / max(a[33], TINY)),
        ]

    def jump_step(self, steps: StepStats, level_before: float) -> None:
        """Time since the last jump, and what the loss did since."""
        jumped = int(steps.steps_since_jump[0])
        since = float(steps.cycle_frac[0]) * self.cycle_steps if jumped == NEVER else float(jumped)
        if since <= self.since:
            self.anchor = level_before
        self.since, self.settling = since, (self.averages[1] - self.anchor) / self.noise
        self.gain *= math.exp(-1 / (2 * self.cycle_steps))
        self.verdicts *= math.exp(-1 / (8 * self.cycle_steps))

    def observe_jump(self, outcome: JumpOutcome) -> None:
        """Take in what became of a proposal."""
        self.has_jumped = True
        self.verdicts += outcome.norm_ratio if outcome.good else -outcome.norm_ratio
        if outcome.kept:
            self.size = outcome.norm_ratio
            self.effect = self.settling if outcome.loss_change is None else outcome.loss_change / self.noise
            self.gain += outcome.gain

    def observe_cycle(self, stats: CycleStats) -> None:
        """Take in a finished cycle."""
        self.cycles.observe(stats, self.noise)
        if stats.cycle > 1:
            self.raw[49:] = list(self.cycles.values)
            self.rescale("cycle", list(range(49, 64)))

    def rescale(self, moved: str, places: list[int]) -> None:
        """Running mean and variance of what moved."""
        self.moves[moved] += 1
        gain = 1 / min(1000, self.moves[moved])
        for place in places:
            deviation = self.raw[place] - self.means[place]
            self.means[place] += gain * deviation
            self.variances[place] = (self.variances[place] + gain * deviation * deviation) * (1 - gain)

    def vector(self) -> np.ndarray:
        """The features (64,)."""
        if not self.moves["step"]:
            return np.zeros(64, dtype=np.float32)
        parts = zip(self.raw, self.means, self.variances, strict=True)
        scaled = [(raw - mean) / math.sqrt(variance + 1e-24) for raw, mean, variance in parts]
        return np.array([max(-5.0, min(5.0, one)) for one in scaled]).astype(np.float32)


def log_norm(norm: float, unknown: float) -> float:
    return math.log(max(norm, TINY)) if math.isfinite(norm) else unknown


def half_log(one: float, other: float) -> float:
    return 0.5 * math.log(max(one, TINY) / max(other, TINY))


def rank(numbers: list[float]) -> float:
    """Mid-rank of the last among the last 64."""
    kept = sorted(numbers[-64:])
    return (bisect_left(kept, numbers[-1]) + bisect_right(kept, numbers[-1])) / (2 * len(kept))
