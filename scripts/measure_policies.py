r"""What every policy is worth, by optimizer, workload, rate and seed: full runs with each, and forks on the way.

    none      one run without jumps
    closed    one run with each policy from the window's start to its end
    early     one run with each policy from the window's start to half of the run
    longer    one run without jumps over LONGER times the steps: what a longer run gains, the unit of worth
    default   one run of the default trainer, which chooses by value
    forks     one run without jumps that forks over all policies at five places

Every run is stored as it ends; the same command goes on where it was stopped. What is stored is read by
`fit_prior.py` (prior and calibration of forks) and `fit_values.py` (learned models).

Of the variants three need scikit-learn, for its digits.

    python scripts/measure_policies.py --out runs/policies --group pairs --seeds 0,1
    python scripts/measure_policies.py --out runs/policies --seeds 0,1 --factor 0.7071 --only adamw \
        --kinds none,closed,early,default
    python scripts/measure_policies.py --out runs/policies --seeds 0,1 --factor 0.7071 --only mlp \
        --kinds none,closed,early,default
    python scripts/measure_policies.py --out runs/policies --seeds 0,1 --kinds early,default
    python scripts/measure_policies.py --out runs/policies --seeds 6,7,8,9,10,11,12,13 --only cnn --kinds none,early
    python scripts/measure_policies.py --out runs/policies --seeds 6,7,8,9,10,11,12,13 --factor 0.7071 \
        --only cnn-adamw --kinds none,early
    python scripts/measure_policies.py --out runs/policies --group variants
    for factor in 1.0 0.5; do
        python scripts/measure_policies.py --out runs/policies --group variants --only norm --factor $factor \
            --seeds 0,1,2 --kinds none,early
        python scripts/measure_policies.py --out runs/unseen --group variants --only norm --factor $factor \
            --seeds 3,4,5 --kinds none,default
    done
    python scripts/measure_policies.py --out runs/policies/large --group large --device cuda --jobs 4
"""

import argparse
import sys
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from policy_cells import BY_VALUE, PolicyCell, PolicyRun
from policy_study import EARLY_END_FRAC
from policy_variants import VARIANTS

from hpt.jsonfiles import write_json
from hpt.jump.policy import NONE, POLICIES
from hpt.machine import describe_machine, utc_now
from hpt.records import jsonable
from hpt.run.processes import ChildJob, JobEnd, run_jobs

PAIRS = {
    ("byte-gpt-b16", 2000): {"adamw": 1.0, "muon": 2.0, "soap": 1.4142},
    ("byte-gpt", 1100): {"adamw": 1.4142, "muon": 2.0, "soap": 2.0},
    ("mlp", 6000): {"adamw": 1.4142, "muon": 1.0, "soap": 1.0},
    ("cnn", 2500): {"adamw": 1.0, "soap": 1.4142},
}
"""By workload and length: optimizers at about their best rates, as tuned by themselves."""
MEMORIES = {("mlp", "muon"): 0.98}
"""Where the tuned decay of the longest average is another than the workload's."""
LARGE = {
    ("gpt2-b32", 500): {"adamw": 0.5, "muon": 2.0},
    ("byte-gpt-10m", 3000): {"adamw": 1.0, "muon": 2.0},
}
"""The same of models for a GPU."""
TRIALS = {
    ("gpt2-b32", 200): {"adamw": (0.25, 0.5, 1.0, 2.0), "muon": (0.5, 1.0, 2.0, 4.0)},
    ("byte-gpt-10m", 1000): {"adamw": (0.5, 1.0, 2.0, 4.0), "muon": (0.5, 1.0, 2.0, 4.0)},
}
"""By workload and length of a trial: rates tried of each optimizer, around the best."""
AUTOCAST = {"gpt2-b32": "bf16", "byte-gpt-10m": "bf16"}
TRIAL_SEED = 99
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
                memory=MEMORIES.get((workload, optimizer)),
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


def large_cells(seed: int, factor: float) -> Iterator[PolicyCell]:
    """Models for a GPU, at `factor` times their best rates."""
    for (workload, steps), optimizers in LARGE.items():
        for optimizer, rate in optimizers.items():
            yield _large(workload, optimizer, steps, round(rate * factor, 4), seed)


def trial_cells(seed: int, factor: float) -> Iterator[PolicyCell]:
    """Short runs of the same without jumps, to find those rates; on a seed of their own."""
    for (workload, steps), optimizers in TRIALS.items():
        for optimizer, rates in optimizers.items():
            for rate in rates:
                yield _large(workload, optimizer, steps, rate * factor, TRIAL_SEED + seed)


def _large(workload: str, optimizer: str, steps: int, rate: float, seed: int) -> PolicyCell:
    return PolicyCell(
        workload=workload,
        optimizer=optimizer,
        steps=steps,
        lr_factor=rate,
        seed=seed,
        policy=NONE,
        autocast=AUTOCAST.get(workload, "none"),
    )


def runs_of(cell: PolicyCell) -> Iterator[tuple[str, PolicyCell]]:
    """Every run of a setting, with its kind."""
    yield "forks", replace(cell, forks=True)
    yield "none", cell
    for policy in POLICIES:
        yield "closed", replace(cell, policy=policy)
    for policy in POLICIES:
        yield "early", replace(cell, policy=policy, window_end_frac=EARLY_END_FRAC)
    yield "default", replace(cell, policy=BY_VALUE)
    yield "longer", replace(cell, steps=round(LONGER * cell.steps))


GROUPS = {"pairs": pair_cells, "variants": variant_cells, "large": large_cells, "trials": trial_cells}


def run_cell(arguments: Mapping[str, Any]) -> Generator[dict[str, Any]]:
    """Run a cell in this process and store it in `folder`; yields its result."""
    torch.set_num_threads(1)
    folder, cell = Path(arguments["folder"]), PolicyCell(**arguments["cell"])
    run = PolicyRun(cell)
    machine = describe_machine(device=cell.device, threads=1)
    if cell.device != "cpu":
        machine["device_name"] = torch.cuda.get_device_name(cell.device)
    result = run.train() | {"measured": utc_now(), "machine": machine}
    if run.study is not None:
        seen = run.study.recorded
        result["forks"] = seen.forks
        names = ("features", "actions", "losses", "cycles")
        arrays = {name: np.asarray(getattr(seen, name), dtype=np.float32) for name in names}
        np.savez_compressed(folder / f"{cell.key}.npz", **arrays)  # pyright: ignore[reportArgumentType]
    write_json(folder / f"{cell.key}.json", jsonable(result))
    yield {"final_loss": result["final_loss"], "wall_s": result["wall_s"]}


def told(end: JobEnd) -> None:
    """A line about a cell that ended."""
    if end.error is not None:
        print(f"{end.job.key}: {end.error}\n{end.words}", file=sys.stderr, flush=True)
        return
    (result,) = end.documents
    print(end.job.key, result["final_loss"], f"{result['wall_s']:.1f} s", file=sys.stderr, flush=True)


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--group", choices=tuple(GROUPS), default="pairs")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--factor", type=float, default=1.0, help="on the rates")
    parser.add_argument("--only", default="", help="part of a key")
    parser.add_argument("--kinds", default="forks,none,closed,longer")
    parser.add_argument("--policies", default="", help="of closed and early runs; all by default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    kinds, policies = arguments.kinds.split(","), arguments.policies.split(",") if arguments.policies else None
    jobs: list[ChildJob] = []
    for seed in map(int, arguments.seeds.split(",")):
        for setting in GROUPS[arguments.group](seed, arguments.factor):
            for kind, made in runs_of(setting):
                cell = replace(made, device=arguments.device)
                is_wanted = kind in kinds and (
                    policies is None or kind not in ("closed", "early") or cell.policy in policies
                )
                if is_wanted and arguments.only in cell.key and not (arguments.out / f"{cell.key}.json").exists():
                    work = {"folder": str(arguments.out), "cell": asdict(cell)}
                    jobs.append(ChildJob(key=cell.key, target="measure_policies:run_cell", arguments=work))
    run_jobs(jobs, at_once=arguments.jobs, on_end=told, preload=("measure_policies", "torch._dynamo"))


if __name__ == "__main__":
    main()
