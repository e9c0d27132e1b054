"""A made-up training run with the statistics of a real one: what the trainer would report, step by step.

The loss falls like a power law under autocorrelated noise; the learning rate warms up and decays
linearly (as a share of the largest so far it never rises); weights walk at random with a slowly turning
drift, by a distance proportional to the learning rate; gradient norms shrink slowly under noise that
goes with the loss's. Jumps change the loss for a while.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from hpt.learned.facts import CycleFacts, JumpOutcome, StepFacts
from hpt.records import Phase

Fact = StepFacts | CycleFacts | JumpOutcome


@dataclass(frozen=True)
class SyntheticRun:
    """A run of `num_steps` full steps in cycles of `cycle_steps`.

    `gain(progress)` is the gain of the jump -d/2 + gain E made after every cycle from the third on;
    None: no jumps. `lr(progress)` is the share of the peak learning rate.
    """

    num_steps: int = 600
    cycle_steps: int = 10
    scales: tuple[float, ...] = (0.8, 0.95)
    num_groups: int = 2
    gain: Callable[[float], float] | None = lambda progress: 2.0
    lr: Callable[[float], float] = lambda progress: max(0.02, min(1.0, (1 - progress) / 0.98))
    correct_steps: int = 3
    seed: int = 0

    def facts(self) -> Iterator[Fact]:
        """Everything an encoder observes, in order."""
        generator = np.random.default_rng(self.seed)
        path = _Path(self, generator)
        losses = _Losses(self, generator)
        since: int | None = None
        outcome: JumpOutcome | None = None
        for step in range(1, self.num_steps + 1):
            since = None if since is None else since + 1
            yield losses.step(step, since)
            if outcome is not None and since == self.correct_steps:
                yield outcome
                outcome = None
            if step % self.cycle_steps == 0:
                facts = path.end_cycle(step)
                yield facts
                outcome = self._jump(facts, generator)
                if outcome is not None:
                    since = 0
                    losses.disturb(outcome.loss_change or 0.0)

    def _jump(self, facts: CycleFacts, generator: np.random.Generator) -> JumpOutcome | None:
        if self.gain is None or facts.cycle < 3:
            return None
        gain = self.gain(facts.step / self.num_steps)
        ratio = facts.jump_norm({"d": -0.5, f"E{self.scales[0]:g}": gain}) / facts.displacement_norm
        return JumpOutcome(
            step=facts.step,
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

    def step(self, step: int, since: int | None) -> StepFacts:
        draw = self.generator.standard_normal(3 + self.run.num_groups)
        self.noise = 0.3 * self.noise + 0.06 * draw[0]
        self.disturbance *= 0.9
        loss = 1.5 + 4.0 * (1 + step / 20) ** -0.5 + self.noise + self.disturbance
        common = 0.8 * step**-0.1 * np.exp(0.15 * draw[1] + self.noise)
        norms = common * np.exp(0.08 * draw[3:]) * np.linspace(1.0, 2.0, self.run.num_groups)
        return StepFacts(
            step=step,
            loss=float(loss),
            grad_norm=float(np.sqrt(np.square(norms).sum())),
            group_grad_norms=tuple(norms.tolist()),
            lr_frac=self.run.lr(step / self.run.num_steps),
            progress=step / self.run.num_steps,
            phase=Phase.FULL,
            cycle_frac=((step - 1) % self.run.cycle_steps + 1) / self.run.cycle_steps,
            steps_since_jump=since,
        )


class _Path:
    def __init__(self, run: SyntheticRun, generator: np.random.Generator) -> None:
        self.run, self.generator = run, generator
        self.size = 150
        self.weights = generator.standard_normal((run.num_groups, self.size))
        self.drift = generator.standard_normal((run.num_groups, self.size))
        self.numerators = [np.zeros_like(self.weights) for _ in run.scales]

    def end_cycle(self, step: int) -> CycleFacts:
        cycle = step // self.run.cycle_steps
        lr_frac = self.run.lr(step / self.run.num_steps)
        self.drift = 0.9 * self.drift + np.sqrt(1 - 0.9**2) * self.generator.standard_normal(self.drift.shape)
        noise = self.generator.standard_normal(self.drift.shape)
        displacement = 0.01 * lr_frac * (noise + 0.4 * self.drift)
        self.weights = self.weights + displacement
        earlier = [self._ema(place, cycle - 1) for place in range(len(self.run.scales))]
        for place, mu in enumerate(self.run.scales):
            self.numerators[place] = mu * self.numerators[place] + (1 - mu) * displacement
        basis = np.stack([displacement, *(self._ema(place, cycle) for place in range(len(self.run.scales)))])
        return CycleFacts(
            cycle=cycle,
            step=step,
            num_steps=self.run.cycle_steps,
            progress=step / self.run.num_steps,
            lr_frac=lr_frac,
            scales=self.run.scales,
            gram=np.einsum("igp,jgp->gij", basis, basis),
            lagged=np.stack([(displacement * one).sum(axis=1) for one in earlier], axis=1),
            lagged_norms=np.stack([(one * one).sum(axis=1) for one in earlier], axis=1),
            weight_norms=np.sqrt(np.square(self.weights).sum(axis=1)),
            past_gram=None,
        )

    def _ema(self, place: int, cycle: int) -> np.ndarray:
        return self.numerators[place] / (1 - self.run.scales[place] ** cycle) if cycle else self.numerators[place]
