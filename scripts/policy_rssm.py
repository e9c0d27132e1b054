"""An RSSM trained on stored runs one after the other, as the trainer trains it on one."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from hpt.learned.actions import tick_ends
from hpt.learned.learner import DynamicsLearner
from hpt.learned.loss_trend import LossTrend
from hpt.learned.run_encoder import RunEncoder
from hpt.predictors.loss_forecasts import TICKS_PER_CYCLE

HORIZON_TICKS = 24
UPDATE_TICKS = TICKS_PER_CYCLE
"""An update a cycle, as in a run; every run is seen once."""


def cycles_of(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Features and actions of the ticks, and losses of the steps, of every stored cycle."""
    with np.load(path) as stored:
        features, actions, losses, cycles = (stored[name] for name in ("features", "actions", "losses", "cycles"))
    size = len(losses) // max(1, len(cycles))
    tick_steps = max(1, round(size / TICKS_PER_CYCLE))
    done = 0
    for start in range(0, len(losses) - size + 1, size):
        ends, _ = tick_ends(size, tick_steps)
        if done + len(ends) > len(features):
            return
        yield features[done : done + len(ends)], actions[done : done + len(ends)], losses[start : start + size]
        done += len(ends)


def train_world_model(paths: Sequence[Path]) -> dict[str, torch.Tensor]:
    """Weights of the world model after all runs."""
    weights = _learner(0).weights()
    for number, path in enumerate(paths):
        learner = _learner(number)
        learner.begin_from(weights)
        _show(learner, path)
        weights = learner.weights()
    return weights


def _learner(seed: int) -> DynamicsLearner:
    return DynamicsLearner(max_horizon=HORIZON_TICKS, seed=seed, update_interval_steps=(UPDATE_TICKS, UPDATE_TICKS))


def _show(learner: DynamicsLearner, path: Path) -> None:
    trend: LossTrend | None = None
    for features, actions, losses in cycles_of(path):
        tick_steps = max(1, round(len(losses) / TICKS_PER_CYCLE))
        trend = LossTrend(HORIZON_TICKS * tick_steps) if trend is None else trend
        ends, _ = tick_ends(len(losses), tick_steps)
        steps = losses.astype(np.float64)
        levels = trend.observe(steps).level
        learner.tick(features, actions, steps[ends], levels[ends])
        learner.learn(*trend.curve(HORIZON_TICKS, tick_steps))


def latents(world: dict[str, torch.Tensor], path: Path, tick: int) -> np.ndarray:
    """The latent (D + S,) after so many ticks of a stored run."""
    encoder = RunEncoder(world)
    with np.load(path) as stored:
        encoder.tick(stored["features"][:tick], stored["actions"][:tick])
    return encoder.latent().astype(np.float64)
