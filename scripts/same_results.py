"""Whether the code as it is trains to the same results as at earlier commits, to the last bit.

Runs of the arms that the evidence is made of are trained by both on one machine: with and without learned models, in a
loop by hand, with fixed policies, controls; on optimizers of which it is known what jumps are worth, and on one on
which that is measured. All that `hpt compare` stores of a run is compared, but for seconds, memory and machine.

What was measured at the earlier commit about results, and not about time or memory, is as good as measured now where
no run of its kind ends differently: `hpt report all --check --fresh` passes over it. On two cores it takes ten minutes,
and half of that for each further commit.

    python scripts/same_results.py f56ea4d --result reports/evidence/same_results.json
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hpt.jsonfiles import write_json
from hpt.machine import describe_machine, source_digests, utc_now

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("hpt", "scenarios", "reports", "hpt_scenarios", "hpt_reports", "pyproject.toml")
WORKLOADS = "regression=3000,mlp=3000,cnn=250,byte-gpt-b16=200,byte-gpt=100,byte-gpt-variant=100"
ARMS = (
    *("hybrid", "unlearned", "no-forks", "attached", "attached-silent", "nesterov", "mlp", "ridge"),
    *("always-quarter", "always-quarter-kept", "always-half", "always-half-kept", "always-full-kept"),
    *("never", "frozen", "random", "fewer-steps", "lr-boost", "lr-x1.25"),
)
OPTIMIZERS = "adamw,muon,soap,sgd"
FLAGS = ("--seeds", "1", "--first-seed", "101", "--budget", "quick", "--no-tune", "--no-figures", "--quiet")
OF_THE_MACHINE = {"train_s", "cpu_s", "peak_host_bytes", "peak_device_bytes", "alone", "environment"}
"""Fields of a cell's result that are not about training."""
COUNTED = {"num_jumps": "jumps_accepted", "num_undone_jumps": "jumps_rejected", "num_forks": "forks"}
"""What says how much the runs exercise, by counter."""
Results = Mapping[str, Mapping[str, Any]]


def train(tree: Path, out: Path, runs: Sequence[str], jobs: int) -> Results:
    """Train the runs by the code in a folder; their results by name.

    Raises:
        CalledProcessError: the comparison failed there.
    """
    command = [sys.executable, "-P", "-m", "hpt", "compare", *runs, *FLAGS, "--jobs", str(jobs), "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL)
    files, sources = sorted((out / "cells").glob("*.json")), sources_in(tree)
    stored = {re.sub(r"-[0-9a-f]{10}$", "", one.stem): json.loads(one.read_text())["result"] for one in files}
    for name, one in stored.items():
        is_of_tree = (
            one["environment"]["sources"].items() <= sources.items()
        )  # earlier code has no digests of data files
        assert is_of_tree, f"{name} was trained by other code than that in {tree}"
    return {name: _of_training(one) for name, one in stored.items()}


def _of_training(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _known(value) for name, value in result.items() if name not in OF_THE_MACHINE}


def _known(value: Any) -> Any:
    """Without fields that are null: code that knows a field stores null where earlier code stored nothing."""
    if isinstance(value, Mapping):
        return {name: _known(one) for name, one in cast(Mapping[str, Any], value).items() if one is not None}
    return [_known(one) for one in cast(list[Any], value)] if isinstance(value, list) else value


def differing(one: Results, other: Results) -> list[str]:
    """Names of runs that ended differently, or that only one of them has."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def sources_in(tree: Path) -> dict[str, str]:
    """Digests of the package's parts in a folder."""
    return source_digests(tree / "hpt")


def unpack(commit: str, folder: Path) -> str:
    """Put the code of a commit into a folder; returns the commit's whole name.

    Raises:
        CalledProcessError: git does not know it.
    """
    git = ["git", "-C", str(ROOT)]
    name = subprocess.run([*git, "rev-parse", f"{commit}^{{commit}}"], check=True, capture_output=True, text=True)
    packed = subprocess.run([*git, "archive", name.stdout.strip(), *PARTS], check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    return name.stdout.strip()


def main() -> int:
    """Train, compare and write one JSON document; exit code 1 where results differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs="+", help="earlier versions of the code")
    parser.add_argument("--result", type=Path, required=True, help="JSON file, written at the end")
    parser.add_argument("--arms", default=",".join(ARMS), help="of hpt compare; others are then not told")
    parser.add_argument("--optimizers", default=OPTIMIZERS, help="the same")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    arguments = parser.parse_args()
    runs = ("--workloads", WORKLOADS, "--arms", arguments.arms, "--optimizers", arguments.optimizers)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        here = train(ROOT, place / "here", runs, arguments.jobs)
        for commit in arguments.commits:
            tree = place / commit
            tree.mkdir()
            name = unpack(commit, tree)
            there = train(tree, place / f"runs-{commit}", runs, arguments.jobs)
            found = differing(here, there)
            rows.append({"commit": name, "sources": sources_in(tree), "differing": found})
            print(f"{commit}: {len(found)} of {len(here)} runs differ", *found, sep="\n", file=sys.stderr)
    counters = [one["counters"] for one in here.values()]
    write_json(
        arguments.result,
        {
            "schema_version": 1,
            "kind": "same-results",
            "command": ["python", *sys.argv],
            "what": "runs trained by the code as it was and as it is, compared to the last bit",
            "runs": sorted(here),
            **{name: int(sum(one[counter] for one in counters)) for name, counter in COUNTED.items()},
            "earlier": rows,
            "machine": describe_machine(device="cpu", threads=1),
            "measured_at": utc_now(),
        },
    )
    return 1 if any(one["differing"] for one in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
