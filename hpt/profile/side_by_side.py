"""The trainer beside the plain loop: one process, the same batches, block by block in changing order.

A block is a cycle of K updates, so that what happens once a cycle is in every block. A machine that slows down slows
both arms, and what is compared is the two times of one block.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from hpt.config import HybridConfig
from hpt.records import Phase, Record, discard
from hpt.statistics import Floats
from hpt.trainer.hybrid import HybridTrainer
from hpt.workloads.plain_loop import PlainLoop
from hpt.workloads.workload import Workload


class SideBySide:
    """A plain loop and a trainer of their own on copies of one workload.

    Args:
        workload: what both train; its clipping limit holds for both.
        values: the trainer's settings, `total_steps` among them.
        sink: receives the trainer's records.

    Attributes:
        plain: the one arm.
        trainer: the other; model: what it trains.
        cycle_steps: K, updates of a block.

    Raises:
        ConfigError: a setting is unknown or out of range.
    """

    def __init__(self, workload: Workload, values: Mapping[str, Any], sink: Callable[[Record], None] = discard) -> None:
        self._workload = workload
        self.plain = PlainLoop(workload, values["total_steps"])
        self._num_batches = 0
        update = {} if workload.clip_norm is None else {"clip_norm": workload.clip_norm}
        config = HybridConfig.from_dict({"update": update, **values})
        self.model = workload.build_model()
        optimizer = workload.build_optimizer(self.model)
        schedule = workload.build_scheduler(optimizer, values["total_steps"])
        self.trainer = HybridTrainer(self.model, optimizer, workload.loss, config, schedule, sink)
        self.cycle_steps = self.trainer.config.cycle_steps

    @property
    def device_type(self) -> str:
        """Where both train."""
        return self._workload.device.type

    def warm_up(self) -> None:
        """Run until the trainer has left WARMUP, and a block more for the caches."""
        while self.trainer.phase is Phase.WARMUP:
            self.blocks(1)
        self.blocks(1)

    def blocks(self, count: int) -> Floats:
        """Seconds of the next blocks, (count, 2): plain, trainer."""
        return np.asarray([self._block(plain_first=index % 2 == 0) for index in range(count)])

    def _block(self, *, plain_first: bool) -> tuple[float, float]:
        batches = self.next_batches()
        if plain_first:
            return self._timed(self._plain_block, batches), self._timed(self._trainer_block, batches)
        trainer_s = self._timed(self._trainer_block, batches)
        return self._timed(self._plain_block, batches), trainer_s

    def next_batches(self) -> list[Any]:
        """Batches of a block, and one more for the jump that may be in it."""
        first, self._num_batches = self._num_batches, self._num_batches + self.cycle_steps + 1
        return [self._workload.batch(first + index) for index in range(self.cycle_steps + 1)]

    def _plain_block(self, batches: list[Any]) -> None:
        for batch in batches[: self.cycle_steps]:
            self.plain.step(batch)

    def _trainer_block(self, batches: list[Any]) -> None:
        goal, position = self.trainer.num_updates + self.cycle_steps, 0
        while self.trainer.num_updates < goal:
            self.trainer.step(batches[position % len(batches)])
            position += 1

    def _timed(self, run: Callable[[list[Any]], None], batches: list[Any]) -> float:
        began = time.perf_counter()
        run(batches)
        if self._workload.device.type == "cuda":
            torch.cuda.synchronize(self._workload.device)
        return time.perf_counter() - began


def per_update(before: Mapping[str, float], after: Mapping[str, float], updates: int) -> dict[str, float]:
    """Seconds an update by name, from two readings of the trainer's clocks."""
    return {name: (seconds - before.get(name, 0.0)) / updates for name, seconds in after.items()}
