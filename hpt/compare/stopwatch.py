"""Seconds inside chosen methods of live objects: what the trainer's own laps lump together.

The trainer charges everything a predictor does in a step to one part. Wrapping the methods of one instance tells its
features from its models without a change to either; the wrapped methods do what they did.
"""

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

from hpt.memory.probe import read_memory
from hpt.predictors.chooser import LearnedChooser
from hpt.predictors.protocol import Predictor


class Stopwatch:
    """Seconds and calls by label."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}

    def time(self, owner: object, method: str, label: str) -> None:
        """Time a method of one object from now on."""
        setattr(owner, method, self._timed(getattr(owner, method), label))
        self.seconds.setdefault(label, 0.0)
        self.calls.setdefault(label, 0)

    def _timed(self, function: Callable[..., Any], label: str) -> Callable[..., Any]:
        @wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds[label] += time.perf_counter() - began
                self.calls[label] += 1

        return timed


def watch_predictor(predictor: Predictor) -> Stopwatch:
    """Time what a learned predictor does: features, and a tick of each model; of others nothing."""
    watch = Stopwatch()
    if not isinstance(predictor, LearnedChooser):
        return watch
    for method in ("observe_step", "vector"):
        watch.time(predictor.encoder, method, "features")
    watch.time(predictor.encoder, "observe_cycle", "cycle features")
    for name, model in predictor.models.items():
        watch.time(model, "tick", f"{name} tick")
        watch.time(model, "learn", f"{name} learning")
    return watch


def memory_probe_s(device: torch.device, repeats: int = 200) -> float:
    """Seconds of one reading of all memory counters."""
    read_memory(device)
    began = time.perf_counter()
    for _ in range(repeats):
        read_memory(device)
    return (time.perf_counter() - began) / repeats
