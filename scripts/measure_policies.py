"""What every policy is worth, by optimizer, workload, rate and seed: full runs with each, and forks on the way.

    closed    one run with each policy from the window's start to its end, and one without jumps
    longer    one run without jumps over LONGER times the steps: what a longer run gains, the unit of worth
    forks     one run without jumps that forks over all policies at five places

Every run is stored as it ends; the same command goes on where it was stopped. What is stored is read by
`fit_prior.py` (prior and calibration of forks) and `fit_values.py` (learned models).

    python scripts/measure_policies.py --out runs/policies --group pairs --seeds 0,1,2
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from policy_cells import PolicyCell, PolicyRun
from policy_variants import VARIANTS

from hpt.jsonfiles import write_json
from hpt.jump.policy import NONE, POLICIES
from hpt.machine import utc_now

PAIRS = {
    ("byte-gpt-b16", 2000): {"adamw": 1.0, "muon": 1.4142, "soap": 2.0},
    ("byte-gpt", 1100): {"adamw": 1.19, "muon": 1.4142, "soap": 1.4142},
    ("mlp", 6000): {"adamw": 1.0, "muon": 1.0, "soap": 1.0},
    ("cnn", 2500): {"adamw": 0.707, "soap": 1.0},
}
"""By workload and length: optimizers at about their best rates, as tuned by themselves."""
OPTIMIZERS = ("adamw", "muon", "soap", "lion", "sgd")
LONGER = 1.4


def pair_cells(seed: int, factor: float) -> Iterator[PolicyCell]:
    """The cells of the pairs, at `factor` times their best rates."""
    for (workload, steps), optimizers in PAIRS.items():
        for optimizer, rate in optimizers.items():
            yield PolicyCell(
                workload=workload,
                optimizer=optimizer,
                steps=steps,
                lr_factor=round(rate * factor, 4),
                seed=seed,
                policy=NONE,
            )


def variant_cells(seed: int, factor: float) -> Iterator[PolicyCell]:
    """Small workloads, at `factor` times the rates at which AdamW does about best."""
    for workload, steps in VARIANTS.items():
        for optimizer in OPTIMIZERS:
            yield PolicyCell(
                workload=f"policy_variants:{workload}",
                optimizer=optimizer,
                steps=steps,
                lr_factor=factor,
                seed=seed,
                policy=NONE,
            )


def runs_of(cell: PolicyCell) -> Iterator[tuple[str, PolicyCell]]:
    """Every run of a setting, with its kind."""
    yield "forks", replace(cell, forks=True)
    for policy in (NONE, *POLICIES):
        yield "closed", replace(cell, policy=policy)
    yield "longer", replace(cell, steps=round(LONGER * cell.steps))


GROUPS = {"pairs": pair_cells, "variants": variant_cells}


def store(folder: Path, cell: PolicyCell) -> dict[str, Any]:
    """Run a cell, or read it if it is done."""
    path = folder / f"{cell.key}.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    run = PolicyRun(cell)
    result = run.train() | {"measured": utc_now()}
    if run.study is not None:
        seen = run.study.recorded
        result["forks"] = seen.forks
        names = ("features", "actions", "losses", "cycles")
        arrays = {name: np.asarray(getattr(seen, name), dtype=np.float32) for name in names}
        np.savez_compressed(folder / f"{cell.key}.npz", **arrays)  # pyright: ignore[reportArgumentType]
    write_json(path, result)
    return result


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--group", choices=tuple(GROUPS), default="pairs")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--factor", type=float, default=1.0, help="on the rates")
    parser.add_argument("--only", default="", help="part of a key")
    parser.add_argument("--kinds", default="forks,closed,longer")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    kinds = arguments.kinds.split(",")
    for seed in map(int, arguments.seeds.split(",")):
        for setting in GROUPS[arguments.group](seed, arguments.factor):
            for kind, cell in runs_of(setting):
                if arguments.only in cell.key and kind in kinds:
                    result = store(arguments.out, cell)
                    print(cell.key, result["final_loss"], f"{result['wall_s']:.1f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
