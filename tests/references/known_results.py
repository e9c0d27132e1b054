"""Cells whose true ratios are known: final losses are linear in log(length), shifted by seed."""

import math
from collections.abc import Sequence
from typing import Any

from hpt.compare.cells import CellResult
from hpt.compare.placement import Baseline

SLOPE = 0.2
OFFSETS = {0: 0.0, 1: 0.013, 2: -0.02, 3: 0.004}
SEEDS = tuple(OFFSETS)
T = 1000
LENGTHS = (700, 1000, 1300, 1600)


def loss_of(steps: float, seed: int) -> float:
    """Final loss of a full schedule of that length."""
    return 3.0 - SLOPE * math.log(steps) + OFFSETS[seed]


def make_result(loss: float, work: float, **changes: Any) -> CellResult:
    """A result with that final loss and that much work, everything else plausible."""
    is_finite = math.isfinite(loss)
    values: dict[str, Any] = {
        "final_loss": loss if is_finite else None,
        "diverged": not is_finite,
        "counters": {"full_step_equivalents": work, "backwards": work},
        "curve": [[work / 2, 4.0], [work, 3.0]],
        "train_s": work * 0.01,
        "cpu_s": work * 0.01,
        "peak_host_bytes": 1000,
        "peak_device_bytes": None,
        "jump_ratio": None,
        "confidence": None,
        "chance_loss": 5.0,
        "alone": True,
    }
    return CellResult(**(values | changes))


def baseline(seeds: Sequence[int] = SEEDS, **changes: Any) -> Baseline:
    """The baseline at all lengths."""
    at = {steps: tuple(make_result(loss_of(steps, seed), steps, **changes) for seed in seeds) for steps in LENGTHS}
    return Baseline(steps=T, seeds=tuple(seeds), at=at)


def worth(ratio: float, work: float = T, seeds: Sequence[int] = SEEDS, **changes: Any) -> list[CellResult]:
    """An arm that ends where a baseline of `ratio` T ends, for that much work."""
    return [make_result(loss_of(ratio * T, seed), work, **changes) for seed in seeds]
