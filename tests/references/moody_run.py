"""Made-up training runs with known dynamics, for learners to learn: numbers only, no training."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MoodyRun:
    """N ticks: features (N, 64), actions (N, 3) that led to them, losses (N,); cycles of `cycle_steps` ticks."""

    features: NDArray[np.float32]
    actions: NDArray[np.float32]
    losses: NDArray[np.float64]
    cycle_steps: int


def moody_run(seed: int, num_ticks: int, cycle_steps: int) -> MoodyRun:
    """Power law, learning-rate term, wandering level, noise of changing size, and bumps after jumps that decay."""
    draw = np.random.default_rng(seed)
    bump_size, decay = draw.uniform(0.05, 0.2), math.exp(-1 / draw.uniform(6, 20))
    noise, persistence = draw.uniform(0.03, 0.1), draw.uniform(0.97, 0.995)
    wander = mood = bump = 0.0
    since = None
    losses, actions = np.empty(num_ticks), np.zeros((num_ticks, 3), np.float32)
    for t in range(num_ticks):
        progress = t / num_ticks
        lr_frac = min(1.0, (t + 1) / 60) * max(0.02, 1 - progress)
        mood = 0.995 * mood + 0.03 * draw.standard_normal()
        wander = persistence * wander + noise * math.sqrt(1 - persistence**2) * draw.standard_normal()
        since = since if since is None else since + 1
        if t and t % cycle_steps == 0 and 0.1 < progress < 0.9:
            gain = 1.0 - 0.8 * progress
            actions[t, :2] = 0.8 * gain, gain
            bump += bump_size * gain * draw.lognormal(0, 0.4) * lr_frac
            since = 0
        actions[t, 2] = 3.0 if since is None else min(3.0, since / cycle_steps)
        bump *= decay
        spread = noise * (0.3 + 0.7 * lr_frac) * math.exp(mood)
        losses[t] = 1 + 3 * (t + 30) ** -0.4 + 0.1 * lr_frac + wander + bump + spread * draw.standard_normal()
    return MoodyRun(_features(losses, actions, draw), actions, losses, cycle_steps)


def bumpy_run(seed: int, num_cycles: int, cycle_steps: int) -> MoodyRun:
    """A level of 1 and, after half of all cycles at random, a jump that lifts the loss by ten sigmas for a while.

    Nothing but the action tells whether a jump comes.
    """
    draw = np.random.default_rng(seed)
    num_ticks = num_cycles * cycle_steps
    losses, actions = np.empty(num_ticks), np.zeros((num_ticks, 3), np.float32)
    bump, since = 0.0, 3.0 * cycle_steps
    for t in range(num_ticks):
        bump, since = 0.9 * bump, since + 1
        if t and t % cycle_steps == 0 and draw.random() < 0.5:
            actions[t, :2] = 1.0, 1.0
            bump, since = 0.5, 0
        actions[t, 2] = min(3.0, since / cycle_steps)
        losses[t] = 1 + bump + 0.05 * draw.standard_normal()
    return MoodyRun(_features(losses, actions, draw), actions, losses, cycle_steps)


def _features(
    losses: NDArray[np.float64], actions: NDArray[np.float32], draw: np.random.Generator
) -> NDArray[np.float32]:
    """A few numbers that tell something of the past, and red noise in the other places."""
    features = np.empty((len(losses), 64), np.float32)
    averages, scale, red = np.full(5, losses[0]), 0.1 * losses[0], np.zeros(55)
    for t, loss in enumerate(losses):
        averages += (loss - averages) / np.array([2, 4, 8, 16, 64])
        scale += (abs(loss - averages[3]) - scale) / 64
        red = 0.95 * red + 0.3 * draw.standard_normal(55)
        live = [*np.diff(averages) / scale, (loss - averages[0]) / scale, math.log(scale), *actions[t]]
        features[t] = np.clip(np.concatenate((live, red)), -5, 5)
    return features
