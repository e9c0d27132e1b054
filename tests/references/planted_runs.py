"""Synthetic training runs with a known structure, and a driver that shows them to a predictor as the trainer would."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt.learned.facts import CycleFacts, JumpOutcome, StepFacts
from hpt.records import Phase

SCALES = (0.8, 0.95)
NOISE = 0.05


def noise_losses(num_steps: int, seed: int) -> NDArray[np.float64]:
    """White noise about a constant: nothing can be forecast."""
    return 2.0 + NOISE * np.random.default_rng(seed).normal(size=num_steps)


def wave_losses(num_steps: int, seed: int, period: float = 60.0) -> NDArray[np.float64]:
    """A wave under noise: the loss half a period ahead follows from where it is now."""
    return noise_losses(num_steps, seed) + 0.1 * np.sin(2 * math.pi * np.arange(num_steps) / period)


def step_of(index: int, loss: float, cycle_steps: int, since: int | None, seed: int) -> StepFacts:
    """Facts of full step `index` (1 for the first), a function of its arguments alone."""
    rng = np.random.default_rng((seed, index))
    return StepFacts(
        step=index,
        loss=float(loss),
        grad_norm=float(np.exp(0.2 * rng.normal())),
        group_grad_norms=(1.0,),
        lr_frac=1.0 / (1.0 + index / 1000.0),
        progress=0.5,
        phase=Phase.FULL,
        cycle_frac=((index - 1) % cycle_steps + 1) / cycle_steps,
        steps_since_jump=since,
    )


def cycle_of(cycle: int, cycle_steps: int, seed: int) -> CycleFacts:
    """Facts of cycle `cycle` with one parameter group, a function of its arguments alone."""
    paths = np.random.default_rng((seed, cycle, 1)).normal(size=(1 + len(SCALES), 8))
    gram = (paths @ paths.T)[None]
    return CycleFacts(
        cycle=cycle,
        step=cycle * cycle_steps,
        num_steps=cycle_steps,
        progress=0.5,
        lr_frac=1.0 / (1.0 + cycle * cycle_steps / 1000.0),
        scales=SCALES,
        gram=gram,
        lagged=0.5 * gram[:, 0, 1:],
        lagged_norms=np.stack([gram[:, 1, 1], gram[:, 2, 2]], axis=1),
        weight_norms=np.ones(1),
        past_gram=None,
    )


def outcome_of(
    step: int, arm: str, *, good: bool, value: float | None = None, value_se: float | None = None
) -> JumpOutcome:
    """A kept jump's outcome."""
    return JumpOutcome(
        step=step,
        arm=arm,
        kept=True,
        rolled_back=False,
        norm_ratio=0.5,
        gain=1.8,
        loss_change=0.01,
        good=good,
        value=value,
        value_se=value_se,
    )


def drive(
    predictor: Any, losses: NDArray[np.float64], cycle_steps: int, *, first: int = 1, seed: int = 0
) -> Iterator[tuple[int, Any]]:
    """Show a run to a predictor from step `first` on; yields (step, proposal or None) at the end of each cycle.

    Every proposal counts as a kept jump made right after it.
    """
    for index in range(first, len(losses) + 1):
        since = None if index <= 3 * cycle_steps else (index - 1) % cycle_steps + 1
        predictor.observe(step_of(index, losses[index - 1], cycle_steps, since, seed))
        if index % cycle_steps == 0:
            facts = cycle_of(index // cycle_steps, cycle_steps, seed)
            predictor.end_cycle(facts)
            yield index, predictor.propose(facts, 75)
