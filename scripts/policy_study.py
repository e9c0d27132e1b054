"""Reading what `measure_policies.py` stored: settings with the worth of every policy, and their forks."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
EARLY_END_FRAC = 0.5  # of the runs whose jumps end early
EARLY_NAMES = tuple(f"{name}-until{EARLY_END_FRAC:g}" for name in NAMES)
WINDOW = 0.8  # of a run, in which the default jumps
WORST = -1.0  # log work ratio of a run that diverged with jumps, or ended as after a third of the steps
STRUCTURES = {"byte": "text", "gpt": "text", "gru": "text", "window": "text", "cnn": "normalised"}
Key = tuple[str, str, int, float]
Finals = dict[tuple[Key, int], dict[str, float | None]]
"""Final losses by policy, of each setting and seed."""


@dataclass
class Setting:
    """A workload, optimizer, length and rate: what was measured of it, over all seeds.

    Attributes:
        workload, optimizer, steps, lr_factor: of the runs.
        folder: where they are stored.
        worth: by seed, log work ratios (A,) of the policies, all at this rate.
        tuned_worth: the same with each policy, and no jumps, at the best of the rates that were run.
        rates: those.
        early_worth: by seed, the same of jumps that end early, where each policy was run so.
        early_rates: those of these runs.
        arms: by seed, the same of whatever else was run at each of these rates: windows that end early, the default.
        gained: loss per e-fold of steps, by which losses become log work ratios.
        forks: of all seeds, as stored, each with "seed", "fall" (as the run saw it) and "cycle_steps".
    """

    workload: str
    optimizer: str
    steps: int
    lr_factor: float
    folder: Path
    worth: dict[int, FloatArray] = field(default_factory=dict[int, FloatArray])
    tuned_worth: dict[int, FloatArray] = field(default_factory=dict[int, FloatArray])
    early_worth: dict[int, FloatArray] = field(default_factory=dict[int, FloatArray])
    early_rates: list[float] = field(default_factory=list[float])
    rates: list[float] = field(default_factory=list[float])
    arms: dict[int, dict[str, float]] = field(default_factory=dict[int, dict[str, float]])
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


def final_losses(folder: Path) -> Finals:
    """Of the stored runs, None of those that diverged; a run that forked by itself stands for one without jumps."""
    return _finals(_rows(folder))


def _load(folder: Path, longer: float) -> list[Setting]:
    rows = _rows(folder)
    forks = {_place_of(row): row for row in rows if row["cell"]["forks"]}
    return list(_settings(_finals(rows), forks, folder, longer))


def _finals(rows: Sequence[Mapping[str, Any]]) -> Finals:
    finals: Finals = defaultdict(dict)
    for row in rows:
        if row["cell"]["forks"]:
            finals[_place_of(row)].setdefault(NONE, row["final_loss"])
        else:
            finals[_place_of(row)][_arm_of(row["cell"])] = row["final_loss"]
    return finals


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def _place_of(row: Mapping[str, Any]) -> tuple[Key, int]:
    cell = row["cell"]
    return (cell["workload"], cell["optimizer"], cell["steps"], cell["lr_factor"]), cell["seed"]


def _arm_of(cell: Mapping[str, Any]) -> str:
    end = cell.get("window_end_frac")
    return cell["policy"] if end is None else f"{cell['policy']}-until{end:g}"


def _settings(finals: Finals, forks: Any, folder: Path, longer: float) -> Iterable[Setting]:
    grouped: dict[Key, list[int]] = defaultdict(list)
    for key, seed in finals:
        grouped[key].append(seed)
    for key, seeds in grouped.items():
        workload, optimizer, steps, factor = key
        pairs = [
            (finals[key, seed].get(NONE), finals.get(((workload, optimizer, round(longer * steps), factor), seed), {}))
            for seed in seeds
        ]
        gains = [
            (own - further) / math.log(longer)
            for own, row in pairs
            if own is not None and (further := row.get(NONE)) is not None
        ]
        whole = [seed for seed in seeds if {NONE, *NAMES} <= set(finals[key, seed])]
        if not gains or not whole or fmean(gains) <= 0.0:
            continue
        setting = Setting(workload, optimizer, steps, factor, folder, gained=fmean(gains))
        for seed in whole:
            rows = _by_rate(finals, key, seed, NAMES)
            setting.rates = sorted({*setting.rates, *rows})
            arms = set.intersection(*map(set, rows.values()))
            best = _best(rows, arms)
            if rows[factor][NONE] is not None:
                setting.worth[seed] = _worths(rows[factor], setting.gained, NAMES)
                setting.tuned_worth[seed] = _worths(best, setting.gained, NAMES)
                others = sorted(arms - {NONE, *NAMES})
                setting.arms[seed] = dict(zip(others, _worths(best, setting.gained, others).tolist(), strict=True))
        for seed in seeds:
            early = _by_rate(finals, key, seed, EARLY_NAMES)
            if set(early) >= set(setting.rates):
                setting.early_rates = sorted({*setting.early_rates, *early})
                best = _best(early, (NONE, *EARLY_NAMES))
                setting.early_worth[seed] = _worths(best, setting.gained, EARLY_NAMES)
            if (key, seed) in forks:
                setting.forks += _read_forks(forks[key, seed], setting, seed)
        yield setting


def _by_rate(finals: Finals, key: Key, seed: int, names: Sequence[str]) -> dict[float, dict[str, float | None]]:
    """Losses by policy of one seed, by rate, where every one of these policies was run, and none."""
    found = {one[3]: row for (one, other), row in finals.items() if other == seed and one[:3] == key[:3]}
    return {rate: row for rate, row in found.items() if {NONE, *names} <= set(row)}


def _best(rows: Mapping[float, Mapping[str, float | None]], names: Iterable[str]) -> dict[str, float | None]:
    """The least loss of each at any rate; None where all diverged."""
    return {name: min(_known(row[name] for row in rows.values()), default=None) for name in names}


def _known(losses: Iterable[float | None]) -> list[float]:
    return [loss for loss in losses if loss is not None]


def _worths(losses: Mapping[str, float | None], gained: float, names: Sequence[str]) -> FloatArray:
    """Log work ratios, one a name, of losses by name; WORST for a run that diverged."""
    without = losses[NONE]
    assert without is not None, "the run without jumps diverged"
    jumped = [losses[name] for name in names]
    return np.array([WORST if one is None else max(WORST, (without - one) / gained) for one in jumped])


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
