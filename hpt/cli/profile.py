"""`hpt profile`: where a step's time goes, what a predicted step costs, and what the trainer takes of a full step."""

import json
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, redirect_stdout
from pathlib import Path
from typing import Any

import click
from typing_extensions import TypedDict

from hpt.cli.console import result_console
from hpt.cli.main import debug_option
from hpt.cli.options import COUNT, THREADS, Real
from hpt.cli.profile_display import show_overhead, show_profile
from hpt.config import PREDICTORS
from hpt.documents import Positive, Version1, read_document
from hpt.errors import EXIT_DONE, UsageError
from hpt.jsonfiles import write_json
from hpt.machine import describe_machine, utc_now
from hpt.run.measuring import measuring
from hpt.run.ownership import check_writable, refuse_foreign
from hpt.run.settings import DEFAULT_WORKLOAD

PROFILE_SCHEMA_VERSION = 1
OVERHEAD_SCHEMA_VERSION = 1
CYCLES, BLOCKS = 20, 40  # timed when nothing is said
CLAIMED_REDUCTION = 0.7  # of a step's overhead, by the system this one follows
EPILOG = """\b
Examples:
  hpt profile --workload byte-gpt
  hpt profile --workload mlp --predictor nesterov --json
  hpt profile --workload byte-gpt --summary runs/standard/summary.json
  hpt profile --overhead --workload mlp --threads 1 --transfers
  hpt profile --overhead --blocks 120 --threads 1 --out runs/overhead
"""


@click.command(epilog=EPILOG)
@click.option(
    "--workload",
    default=DEFAULT_WORKLOAD,
    show_default=True,
    metavar="NAME",
    help="Workload, or package.module:factory.",
)
@click.option(
    "--predictor",
    default="rssm",
    show_default=True,
    metavar="NAME",
    help=f"Method that proposes jumps: {', '.join(PREDICTORS)}.",
)
@click.option(
    "--steps",
    type=COUNT,
    default=3000,
    show_default=True,
    metavar="N",
    help="Planned updates of the run, which set the length of a cycle.",
)
@click.option(
    "--cycles",
    "--blocks",
    "cycles",
    type=click.IntRange(2, 10**6),
    metavar="N",
    help=f"Number of cycles to time. [default: {CYCLES}; {BLOCKS} with --overhead]",
)
@click.option(
    "--overhead", is_flag=True, help="Measure instead what the trainer adds to an ordinary step; no jumps are made."
)
@click.option(
    "--transfers", is_flag=True, help="With --overhead: also count transfers from the device, per step and per cycle."
)
@click.option("--threads", type=THREADS, metavar="N", help="Number of torch threads. [default: torch's choice]")
@click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1. [default: cuda where there is one, else cpu]")
@click.option("--data", metavar="PATH", help="Text file, or folder of such, that the text workloads train on.")
@click.option(
    "--steps-ratio",
    type=Real(0.0, 1e6, min_open=True),
    metavar="RATIO",
    help="Steps that jumps save, as a ratio, if known.",
)
@click.option(
    "--summary", metavar="FILE", help="Read that ratio, and the measured speed-up, from a summary.json of hpt compare."
)
@click.option("--arm", default="hybrid", show_default=True, metavar="NAME", help="Arm of that summary.")
@click.option(
    "--tokens-per-step", type=COUNT, metavar="N", help="Tokens per step of the projected models. [default: as profiled]"
)
@click.option(
    "--out",
    metavar="PATH",
    help="Also write the JSON document: to this file, or into this folder as profile.json or overhead.json.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, and nothing else, on stdout.")
@debug_option
def profile(*, out: str | None, as_json: bool, overhead: bool, **flags: Any) -> int:
    """Measure where a step's time goes, part by part, and what a jump costs.

    The trainer and a plain training loop run side by side in one process. Jumps are forced, forks are off. Costs for
    the GPT-2 family are projections from the measured parts, and marked as such. With --overhead no jumps are made:
    both loops run the same batches, one cycle at a time, and the difference is the trainer's own time.
    """
    kind = "overhead" if overhead else "profile"
    path = None if out is None else _place(Path(out), kind)
    with redirect_stdout(sys.stderr):  # a workload may print; stdout is for the result
        document = _overhead(flags) if overhead else _profile(flags)
    if path is not None:
        write_json(path, document)
    if as_json:
        click.echo(json.dumps(document, allow_nan=False))
    elif overhead:
        show_overhead(document, result_console())
    else:
        show_profile(document, result_console())
    return EXIT_DONE


def _place(out: Path, kind: str) -> Path:
    """The file named, or one of this kind in the folder named; found to be writable before anything is measured.

    Raises:
        UsageError: something else is there.
        DiskError: nothing can be written there.
    """
    path = out if out.suffix == ".json" else out / f"{kind}.json"
    refuse_foreign(path, kind)
    check_writable(path.parent)
    return path


def _alone() -> AbstractContextManager[None]:
    """Hold the lock that lets one command at a time measure on this machine."""
    return measuring(lambda line: click.echo(line, err=True))


class _Ratio(TypedDict):
    value: Positive


class _Measures(TypedDict):
    steps_ratio: _Ratio | None
    wall_ratio: _Ratio | None


class _Arm(TypedDict):
    measures: _Measures | None


class _Workload(TypedDict):
    arms: dict[str, _Arm]


class _Summary(TypedDict):
    """What is read of a comparison's summary.json."""

    schema_version: Version1
    workloads: dict[str, _Workload]


def _worth(steps_ratio: float | None, summary: str | None, workload: str, arm: str) -> dict[str, Any]:
    """Steps ratio and measured wall-clock ratio, as far as they are known.

    Raises:
        UsageError: the summary cannot be read, or lacks the arm.
    """
    if summary is None:
        source = None if steps_ratio is None else "--steps-ratio"
        return {"steps_ratio": steps_ratio, "wall_ratio": None, "source": source}
    arms = read_document(Path(summary), _Summary, remedy="name a summary.json")["workloads"].get(workload, {"arms": {}})
    found = arms["arms"].get(arm, {"measures": None})["measures"]
    if found is None:
        raise UsageError(f"--summary {summary} has no measures of {arm} on {workload}; name a finished one")
    wall, steps = found["wall_ratio"], found["steps_ratio"]
    return {
        "steps_ratio": steps_ratio or (None if steps is None else steps["value"]),
        "wall_ratio": None if wall is None else wall["value"],
        "source": summary,
    }


def _begin(flags: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The workload, and what every document says of the circumstances; imports torch, so wrong flags come first."""
    import torch  # noqa: PLC0415 - takes seconds

    from hpt.run.device import find_device  # noqa: PLC0415
    from hpt.workloads.registry import load_workload  # noqa: PLC0415

    device = find_device(flags["device"])
    if flags["threads"] is not None:
        torch.set_num_threads(flags["threads"])
    data = None if flags["data"] is None else Path(flags["data"])
    workload = load_workload(flags["workload"], seed=0, data=data, device=device)
    machine = describe_machine(device=str(device), threads=torch.get_num_threads())
    if device.type == "cuda":
        machine["device_name"] = torch.cuda.get_device_name(device)
    return workload, machine


def _profile(flags: Mapping[str, Any]) -> dict[str, Any]:
    if flags["transfers"]:
        raise UsageError("--transfers is for --overhead; add that")
    worth = _worth(flags["steps_ratio"], flags["summary"], flags["workload"], flags["arm"])
    workload, machine = _begin(flags)
    from hpt.profile.components import profile_components  # noqa: PLC0415 - imports torch
    from hpt.profile.projection import project_family  # noqa: PLC0415

    cycles = flags["cycles"] or CYCLES
    with _alone():
        times = profile_components(workload, flags["predictor"], total_steps=flags["steps"], cycles=cycles)
    ratio, jump_cost, whole_cost = worth["steps_ratio"], times.jump_cost_ratio, times.whole_cost_ratio
    predicted, measured = (None, None) if ratio is None else times.speed_ratio(ratio)
    return {
        "schema_version": PROFILE_SCHEMA_VERSION,
        "kind": "profile",
        "finished_at": utc_now(),
        "workload": dict(workload.description),
        "predictor": flags["predictor"],
        "machine": machine,
        "parts": times.to_document(),
        "reduction": {
            "claimed": CLAIMED_REDUCTION,
            "measured_jump_and_probe": None if jump_cost is None else 1.0 - jump_cost,
            "measured_everything": None if whole_cost is None else 1.0 - whole_cost,
        },
        "speed": {
            **worth,
            "predicted_wall_ratio": predicted,
            "wall_ratio_at_measured_cost": measured,
            "nominal_wall_ratio": times.speed_ratio(times.nominal_steps_ratio)[0],
        },
        "projection": project_family(workload, times, flags["tokens_per_step"]),
    }


def _overhead(flags: Mapping[str, Any]) -> dict[str, Any]:
    if flags["summary"] is not None or flags["steps_ratio"] is not None:
        raise UsageError("--overhead measures no jumps; leave out --summary and --steps-ratio")
    workload, machine = _begin(flags)
    from hpt.profile.overhead import measure_overhead  # noqa: PLC0415 - imports torch

    with _alone():
        found = measure_overhead(
            workload,
            flags["predictor"],
            total_steps=flags["steps"],
            blocks=flags["cycles"] or BLOCKS,
            with_transfers=flags["transfers"],
        )
    return {
        "schema_version": OVERHEAD_SCHEMA_VERSION,
        "kind": "overhead",
        "command": ["hpt", *sys.argv[1:]],
        "what": "time of a full step of the trainer over the plain loop's, median of paired blocks",
        "workload": flags["workload"],
        "predictor": flags["predictor"],
        "threads": machine["threads"],
        **found.to_document(),
        "description": dict(workload.description),
        "measured_at": utc_now(),
        "machine": machine,
    }
