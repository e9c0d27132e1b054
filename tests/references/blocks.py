"""Full steps one by one, in a row, and in blocks of any size."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np

from hpt.history import NEVER, StepStats
from hpt.records import Phase


def one_step(
    step: int = 1,
    loss: float = 2.0,
    *,
    grad_norm: float = 1.0,
    group_grad_norms: tuple[float, ...] = (1.0,),
    lr_frac: float = 1.0,
    progress: float = math.nan,
    cycle_frac: float = 0.0,
    steps_since_jump: int = NEVER,
) -> StepStats:
    """A block of one full step."""
    return StepStats(
        step=np.array([step]),
        loss=np.array([loss], dtype=np.float64),
        grad_norm=np.array([grad_norm], dtype=np.float64),
        group_grad_norms=np.array([group_grad_norms], dtype=np.float64),
        lr_frac=np.array([lr_frac], dtype=np.float64),
        progress=np.array([progress], dtype=np.float64),
        cycle_frac=np.array([cycle_frac], dtype=np.float64),
        steps_since_jump=np.array([steps_since_jump]),
        phase=(Phase.FULL,),
    )


def joined(blocks: Iterable[StepStats]) -> StepStats:
    """One block of all."""
    every = list(blocks)
    columns: dict[str, Any] = {
        one.name: np.concatenate([getattr(block, one.name) for block in every])
        for one in fields(StepStats)
        if one.name != "phase"
    }
    return StepStats(**columns, phase=tuple(phase for block in every for phase in block.phase))


def rows(steps: StepStats, start: int, stop: int) -> StepStats:
    """Steps `start` to `stop` - 1 of a block."""
    return replace(steps, **{one.name: getattr(steps, one.name)[start:stop] for one in fields(StepStats)})


def merged(events: Iterable[Any], cuts: frozenset[int] = frozenset()) -> Iterator[Any]:
    """Events with full steps in a row joined, apart where a step's number is in `cuts`."""
    waiting: list[StepStats] = []
    for event in events:
        if isinstance(event, StepStats) and not (waiting and int(event.step[0]) in cuts):
            waiting.append(event)
            continue
        if waiting:
            yield joined(waiting)
        waiting = [event] if isinstance(event, StepStats) else []
        if not waiting:
            yield event
    if waiting:
        yield joined(waiting)
