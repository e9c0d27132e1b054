"""A made-up training run with the statistics of a real one: what the trainer would report, step by step.

The loss falls like a power law under autocorrelated noise; the learning rate warms up and decays
linearly (as a share of the largest so far it never rises); weights walk at random with a slowly turning
drift, by a distance proportional to the learning rate; gradient norms shrink slowly under noise that
goes with the loss's. Jumps change the loss for a while.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from references.blocks import one_step

from hpt.history import NEVER, StepStats
from hpt.jump.delta import WeightDelta
from hpt.jump.stats import CycleStats, JumpOutcome

Event = StepStats | CycleStats | JumpOutcome


@dataclass(frozen=True)
class SyntheticRun:
    """A run of `num_steps` full steps in cycles of `cycle_steps`.

    `gain(progress)` is the gain of the jump -d/2 + gain E made after every cycle from the third on;
    None: no jumps. `lr(progress)` is the share of the peak learning rate.
    """

    num_steps: int = 600
    cycle_steps: int = 10
    scale: float = 0.8
    num_groups: int = 2
    gain: Callable[[float], float] | None = lambda progress: 2.0
    lr: Callable[[float], float] = lambda progress: max(0.02, min(1.0, (1 - progress) / 0.98))
    correct_steps: int = 3
    seed: int = 0

    def events(self) -> Iterator[Event]:
        """Everything an encoder observes, in order, one step at a time."""
        generator = np.random.default_rng(self.seed)
        path = _Path(self, generator)
        losses = _Losses(self, generator)
        since = NEVER
        outcome: JumpOutcome | None = None
        for step in range(1, self.num_steps + 1):
            since = since if since == NEVER else since + 1
            yield losses.step(step, since)
            if outcome is not None and since == self.correct_steps:
                yield outcome
                outcome = None
            if step % self.cycle_steps == 0:
                stats = path.end_cycle(step)
                yield stats
                outcome = self._jump(stats, generator)
                if outcome is not None:
                    since = 0
                    losses.disturb(outcome.loss_change or 0.0)

    def _jump(self, stats: CycleStats, generator: np.random.Generator) -> JumpOutcome | None:
        if self.gain is None or stats.cycle < 3:
            return None
        gain = self.gain(stats.step / self.num_steps)
        ratio = stats.norm_ratio(stats.delta_norm(WeightDelta(0.5, gain, self.scale)))
        return JumpOutcome(
            step=stats.step,
            arm="short",
            kept=True,
            rolled_back=False,
            norm_ratio=ratio,
            gain=gain,
            loss_change=0.1 * ratio * float(generator.uniform(0.5, 1.5)),
            good=True,
        )


class _Losses:
    def __init__(self, run: SyntheticRun, generator: np.random.Generator) -> None:
        self.run, self.generator = run, generator
        self.noise = self.disturbance = 0.0

    def disturb(self, rise: float) -> None:
        self.disturbance += rise

    def step(self, step: int, since: int) -> StepStats:
        draw = self.generator.standard_normal(3 + self.run.num_groups)
        self.noise = 0.3 * self.noise + 0.06 * draw[0]
        self.disturbance *= 0.9
        loss = 1.5 + 4.0 * (1 + step / 20) ** -0.5 + self.noise + self.disturbance
        common = 0.8 * step**-0.1 * np.exp(0.15 * draw[1] + self.noise)
        norms = common * np.exp(0.08 * draw[3:]) * np.linspace(1.0, 2.0, self.run.num_groups)
        return one_step(
            step=step,
            loss=float(loss),
            grad_norm=float(np.sqrt(np.square(norms).sum())),
            group_grad_norms=tuple(norms.tolist()),
            lr_frac=self.run.lr(step / self.run.num_steps),
            progress=step / self.run.num_steps,
            cycle_frac=((step - 1) % self.run.cycle_steps + 1) / self.run.cycle_steps,
            steps_since_jump=since,
        )


class _Path:
    def __init__(self, run: SyntheticRun, generator: np.random.Generator) -> None:
        self.run, self.generator = run, generator
        self.size = 150
        self.weights = generator.standard_normal((run.num_groups, self.size))
        self.drift = generator.standard_normal((run.num_groups, self.size))
        self.numerator = np.zeros_like(self.weights)

    def end_cycle(self, step: int) -> CycleStats:
        cycle = step // self.run.cycle_steps
        lr_frac = self.run.lr(step / self.run.num_steps)
        self.drift = 0.9 * self.drift + np.sqrt(1 - 0.9**2) * self.generator.standard_normal(self.drift.shape)
        noise = self.generator.standard_normal(self.drift.shape)
        displacement = 0.01 * lr_frac * (noise + 0.4 * self.drift)
        self.weights = self.weights + displacement
        earlier = self._ema(cycle - 1)
        self.numerator = self.run.scale * self.numerator + (1 - self.run.scale) * displacement
        basis = np.stack([displacement, self._ema(cycle)])
        return CycleStats(
            cycle=cycle,
            step=step,
            num_steps=self.run.cycle_steps,
            progress=step / self.run.num_steps,
            lr_frac=lr_frac,
            scale=self.run.scale,
            gram=np.einsum("igp,jgp->gij", basis, basis),
            lagged=(displacement * earlier).sum(axis=1),
            lagged_norms=(earlier * earlier).sum(axis=1),
            weight_norms=np.sqrt(np.square(self.weights).sum(axis=1)),
        )

    def _ema(self, cycle: int) -> np.ndarray:
        return self.numerator / (1 - self.run.scale**cycle) if cycle else self.numerator
