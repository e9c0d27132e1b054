"""The trainer's own time in a full step: everything that prediction needs, and no jump.

Guards, observation, learning at the end of the cycle, trajectory and snapshots are on; the window of jumps holds no
update but the planned last one, which is never reached, so every call is a full step. What the trainer takes beyond
the plain loop is taken block by block, its median in seconds and as a share of a step, each with a bootstrap interval.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hpt.errors import NothingMeasured
from hpt.profile.side_by_side import SideBySide, per_update
from hpt.profile.transfers import Transfers, count_transfers
from hpt.statistics import Floats, median_estimate
from hpt.workloads.workload import Workload

NO_JUMPS = {"window_start_frac": 1.0 - 1e-6, "window_end_frac": 1.0}
SPARE_BLOCKS = 3  # one warms up the caches, one counts transfers, one keeps the planned end out of reach


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """Paired blocks of full steps of one workload.

    Attributes:
        block_steps: K, updates of a block.
        blocks: pairs measured.
        ratio: trainer over plain, median over blocks, with its interval.
        ratio_total: the same of the sums.
        difference_s: trainer minus plain an update, median over blocks, with its interval.
        plain_step_s, trainer_step_s: medians over blocks, an update.
        part_s: the trainer's seconds an update by component.
        transfers: reads of the device in one more block; None if not counted.
    """

    block_steps: int
    blocks: int
    ratio: tuple[float, float, float]
    ratio_total: float
    difference_s: tuple[float, float, float]
    plain_step_s: float
    trainer_step_s: float
    part_s: dict[str, float]
    transfers: Transfers | None

    def to_document(self) -> dict[str, Any]:
        """Plain values."""
        ends = ("value", "low", "high")
        ratio, low, high = self.ratio
        return asdict(self) | {
            "ratio": ratio,
            "ratio_low": low,
            "ratio_high": high,
            "difference_s": dict(zip(ends, self.difference_s, strict=True)),
            "difference_frac": dict(zip(ends, (one - 1.0 for one in self.ratio), strict=True)),
        }


def measure_overhead(
    workload: Workload, predictor: str, *, total_steps: int, blocks: int, with_transfers: bool = False
) -> Overhead:
    """Measure `blocks` pairs at the cycle length of a run of `total_steps`, after a warm-up.

    The run is planned longer where the blocks need it, at the same cycle length.

    Raises:
        ConfigError: the predictor is unknown.
        NothingMeasured: a jump was made or a fork opened, so that the blocks are not full steps alone.
    """
    values: dict[str, Any] = {"predictor": predictor, "total_steps": total_steps, "predict": NO_JUMPS}
    config = SideBySide(workload, values).trainer.config
    cycle_steps = config.cycle_steps
    needed = config.first_jump_step + (blocks + SPARE_BLOCKS) * cycle_steps
    planned = {"total_steps": max(total_steps, needed), "full_steps": cycle_steps}
    both = SideBySide(workload, values | planned)
    both.warm_up()
    before = both.trainer.summary()["seconds"]["part"]
    times = both.blocks(blocks) / cycle_steps
    after = both.trainer.summary()["seconds"]["part"]
    transfers = count_transfers(both) if with_transfers else None
    made = both.trainer.summary()["counters"]
    if made["jumps_proposed"] or made["forks"]:
        raise NothingMeasured(f"{made['jumps_proposed']} jumps and {made['forks']} forks in what was to be full steps")
    return _overhead(times, cycle_steps, per_update(before, after, blocks * cycle_steps), transfers)


def _overhead(times: Floats, block_steps: int, part_s: dict[str, float], transfers: Transfers | None) -> Overhead:
    plain, trainer = times[:, 0], times[:, 1]
    return Overhead(
        block_steps=block_steps,
        blocks=len(times),
        ratio=median_estimate(trainer / plain),
        ratio_total=float(trainer.sum() / plain.sum()),
        difference_s=median_estimate(trainer - plain),
        plain_step_s=float(np.median(plain)),
        trainer_step_s=float(np.median(trainer)),
        part_s=part_s,
        transfers=transfers,
    )
