"""Reading what `measure_policies.py` stored: settings with the worth of every policy, and their forks."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from policy_forks import PLACES

from hpt.jump.policy import NONE, POLICIES
from hpt.learned.loss_curve import fall_of
from hpt.predictors.protocol import MeasuredValue

FloatArray = NDArray[np.float64]
NAMES = tuple(POLICIES)
WINDOW = 0.8  # of a run, in which the default jumps
WORST = -1.0  # log work ratio of a run that diverged with jumps, or ended as after a third of the steps
STRUCTURES = {"byte": "text", "gpt": "text", "gru": "text", "window": "text", "cnn": "normalised"}
Key = tuple[str, str, int, float]


@dataclass
class Setting:
    """A workload, optimizer, length and rate: what was measured of it, over all seeds.

    Attributes:
        workload, optimizer, steps, lr_factor: of the runs.
        folder: where they are stored.
        worth: by seed, log work ratios (A,) of the policies.
        gained: loss per e-fold of steps, by which losses become log work ratios.
        forks: of all seeds, as stored, each with "seed", "fall" (as the run saw it) and "cycle_steps".
    """

    workload: str
    optimizer: str
    steps: int
    lr_factor: float
    folder: Path
    worth: dict[int, FloatArray] = field(default_factory=dict[int, FloatArray])
    gained: float = math.nan
    forks: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def stem(self, seed: int) -> str:
        """File of the ticks of the run that forked."""
        name = self.workload.rpartition(":")[2]
        return f"{name}-{self.optimizer}-x{self.lr_factor:.3g}-n{self.steps}-s{seed}-{NONE}-forks.npz"


def value_of(fork: dict[str, Any], name: str, settle_steps: int) -> MeasuredValue:
    """What a stored fork says of a policy, had its branches ended so many steps after the last cycle with a jump."""
    steps = fork["num_jumps"] * fork["cycle_steps"] + settle_steps
    return MeasuredValue(tuple(fork["gains"][name][:steps]), fork["num_jumps"], settle_steps)


def per_loss(setting: Setting, fork: dict[str, Any]) -> float:
    """Jumps of a window over the loss's fall per e-fold, by which a value becomes a log work ratio."""
    return WINDOW * setting.steps / fork["cycle_steps"] / fork["fall"]


def load(folders: Sequence[Path], longer: float) -> list[Setting]:
    """Settings for which there are a longer run and a seed with every policy.

    Args:
        folders: where `measure_policies.py` stores; a setting lies in one of them.
        longer: length of the longer runs over the others'.
    """
    return [setting for folder in folders for setting in _load(folder, longer)]


def _load(folder: Path, longer: float) -> list[Setting]:
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    finals: dict[tuple[Key, int], dict[str, float | None]] = defaultdict(dict)
    forks: dict[tuple[Key, int], dict[str, Any]] = {}
    for row in rows:
        cell = row["cell"]
        place = (cell["workload"], cell["optimizer"], cell["steps"], cell["lr_factor"]), cell["seed"]
        if cell["forks"]:
            forks[place] = row
            finals[place].setdefault(NONE, row["final_loss"])
        else:
            finals[place][cell["policy"]] = row["final_loss"]
    return list(_settings(finals, forks, folder, longer))


def _settings(finals: Any, forks: Any, folder: Path, longer: float) -> Iterable[Setting]:
    grouped: dict[Key, list[int]] = defaultdict(list)
    for key, seed in finals:
        grouped[key].append(seed)
    for key, seeds in grouped.items():
        workload, optimizer, steps, factor = key
        gains = [
            (finals[key, seed][NONE] - further) / math.log(longer)
            for seed in seeds
            if (further := finals.get(((workload, optimizer, round(longer * steps), factor), seed), {}).get(NONE))
        ]
        whole = [seed for seed in seeds if {NONE, *NAMES} <= set(finals[key, seed])]
        if not gains or not whole or fmean(gains) <= 0.0:
            continue
        setting = Setting(workload, optimizer, steps, factor, folder, gained=fmean(gains))
        for seed in whole:
            row = finals[key, seed]
            if row[NONE] is not None:
                setting.worth[seed] = np.array([_worth(row[NONE], row[name], setting.gained) for name in NAMES])
        for seed in seeds:
            if (key, seed) in forks:
                setting.forks += _read_forks(forks[key, seed], setting, seed)
        yield setting


def _worth(without: float, jumped: float | None, gained: float) -> float:
    return WORST if jumped is None else max(WORST, (without - jumped) / gained)


def _read_forks(row: dict[str, Any], setting: Setting, seed: int) -> list[dict[str, Any]]:
    losses = np.load(setting.folder / setting.stem(seed))["losses"]
    size = row["cycle_steps"]
    return [
        {
            "place": place,
            **fork,
            "seed": seed,
            "cycle_steps": size,
            "fall": fall_of(*_blocks(losses[: fork["step"]], size)),
        }
        for fork, (place, _) in zip(row["forks"], PLACES, strict=False)
    ]


def _blocks(losses: FloatArray, size: int) -> tuple[list[float], list[float]]:
    """Mean step and loss of every cycle, as `LossCurve` has them."""
    count = len(losses) // size
    steps = [size * index + (size + 1) / 2 for index in range(count)]
    return steps, losses[: count * size].reshape(count, size).mean(axis=1).tolist()
