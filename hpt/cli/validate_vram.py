"""`hpt validate-vram`: is memory what it is said to be? Measured where it can be, estimated where it cannot."""

import json
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from hpt.cli.closing import show_closing
from hpt.cli.console import message_console, result_console
from hpt.cli.main import debug_option
from hpt.cli.options import COUNT, PROCESSES, QUIET, SEED, THREADS, Real
from hpt.errors import EXIT_DONE, DeviceError, InconclusiveError, OutOfMemory, UsageError
from hpt.jsonfiles import write_json
from hpt.records import jsonable
from hpt.run.ownership import check_writable, claim, refuse_foreign
from hpt.run.preflight import check_workloads
from hpt.validate.plan import ARMS, DTYPES, LEAST_STEPS, MARKS, PLAIN, ValidationJob, ValidationRequest

EXIT_FINDING = 3
GIB = 1024**3
CONTEXT = 1024
CPU_SEQ_LEN, CPU_BATCH = 64, 1
WANTED_BATCH = 8
EPILOG = """\b
Examples:
  hpt validate-vram --model gpt2-nano
  hpt validate-vram --model gpt2 --steps 50 --out runs/vram-gpt2
  hpt validate-vram --model gpt2 --device cuda --steps 200
  hpt validate-vram --model gpt2-nano --processes 2
  hpt validate-vram --model gpt2-xl --estimate --budget-gb 16
"""


@click.command("validate-vram", epilog=EPILOG)
@click.option(
    "--model",
    default="gpt2",
    show_default=True,
    metavar="NAME",
    help="gpt2, gpt2-medium, gpt2-large, gpt2-xl, gpt2-nano, or package.module:factory.",
)
@click.option(
    "--steps", type=COUNT, default=50, show_default=True, metavar="N", help="Number of optimizer updates of each arm."
)
@click.option(
    "--batch-size",
    type=COUNT,
    metavar="N",
    help="Sequences in a batch. [default: 1; with --estimate: 8 sequences per update]",
)
@click.option("--seq-len", type=COUNT, metavar="N", help="Tokens in a sequence. [default: 64 on a CPU, else 1024]")
@click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1. [default: cuda where there is one, else cpu]")
@click.option(
    "--dtype",
    type=click.Choice(DTYPES),
    default="fp32",
    show_default=True,
    help="bf16: autocast. bf16-weights: weights and optimizer state in bf16.",
)
@click.option("--arms", default=",".join(ARMS), show_default=True, metavar="LIST", help="Arms to run, comma-separated.")
@click.option(
    "--drills",
    type=click.Choice(("nano", "full", "none")),
    default="nano",
    show_default=True,
    help="Tests of single memory layers: on gpt2-nano, on the model itself (full), or none.",
)
@click.option(
    "--estimate", "only_estimate", is_flag=True, help="Only estimate the memory on a GPU; nothing is trained."
)
@click.option(
    "--budget-gb", type=Real(0.1, 1e6), metavar="GIB", help="With --estimate: does it fit a GPU of this size, and how?"
)
@click.option("--seed", type=SEED, default=0, show_default=True, metavar="N", help="Seed of weights and batches.")
@click.option("--threads", type=THREADS, metavar="N", help="Number of torch threads. [default: torch's choice]")
@click.option(
    "--processes",
    type=PROCESSES,
    default=1,
    show_default=True,
    metavar="N",
    help="Processes of each arm, by DistributedDataParallel, each with data of its own and on CUDA a GPU. Drills and "
    "estimates take one.",
)
@click.option("--strict", is_flag=True, help="Exit with 4 if a check is inconclusive.")
@click.option("--out", metavar="FOLDER", help="Folder of the results. [default: runs/validate-vram-<model>]")
@QUIET
@click.option("--json", "as_json", is_flag=True, help="Print run.json, and nothing else, on stdout.")
@debug_option
def validate_vram(**flags: Any) -> int:
    """Measure the memory of training with and without jumps, and check it against thresholds.

    Checked are peaks, growth, copies, the estimate, and each layer of the trainer's memory management. Every arm
    (one way to train) runs in its own process with equal batch, data and seed. Without a GPU, host memory is measured
    and the memory of a GPU is estimated. Exit code 3: a check failed, or did not run.
    """
    folder = Path(flags["out"] or f"runs/validate-vram-{_file_name(flags['model'])}")
    if flags["budget_gb"] is not None and not flags["only_estimate"]:
        raise UsageError("--budget-gb is for an estimate; add --estimate")
    console = message_console(quiet=flags["quiet"])
    if flags["only_estimate"]:
        return _estimate(flags, folder, console)
    request = _request(flags)
    from hpt.cli.validate_display import ValidationProgress, closing_of, show  # noqa: PLC0415 - brings numpy and scipy
    from hpt.validate.run import validate  # noqa: PLC0415 - brings matplotlib

    progress = ValidationProgress(console)
    document = validate(request, folder, progress.begin, progress.line, lambda line: click.echo(line, err=True))
    if flags["as_json"]:
        click.echo(json.dumps(jsonable(document), allow_nan=False))
    else:
        if not flags["quiet"]:
            show(document, result_console())
        show_closing(closing_of(document, folder), result_console())
    console.print(f"results: {folder}", soft_wrap=True)
    return _exit_code(document, strict=flags["strict"])


def _file_name(model: str) -> str:
    return model.replace(":", "-").replace("/", "-")


def _request(flags: dict[str, Any]) -> ValidationRequest:
    arms = tuple(name.strip() for name in flags["arms"].split(",") if name.strip())
    unknown = [name for name in arms if name not in ARMS]
    if unknown or not arms:
        raise UsageError(f"--arms is {flags['arms']!r}; choose from {', '.join(ARMS)}")
    if flags["steps"] < LEAST_STEPS and set(arms) != {PLAIN}:
        raise UsageError(
            f"--steps is {flags['steps']}, but the forced cycle with its jumps needs {LEAST_STEPS}; "
            f"raise it, or run --arms {PLAIN} alone"
        )
    device = _device(flags["device"])
    _check_group(flags["processes"], device)
    length = CPU_SEQ_LEN if device == "cpu" else CONTEXT
    job = _job(flags, device=device, seq_len=length)
    if ":" in flags["model"]:
        check_workloads([flags["model"]], seeds=[flags["seed"]], data=None, device=device)
    wide = flags["seq_len"] or (CONTEXT if _has_sizes(flags["model"]) else None)
    return ValidationRequest(
        job=job, arms=arms, drills=flags["drills"], estimate_seq_len=wide, command=["hpt", *sys.argv[1:]]
    )


def _job(flags: dict[str, Any], *, device: str, seq_len: int) -> ValidationJob:
    """The job of an arm; sizes are for the models that take them, `seq_len` is theirs where none was given."""
    is_known = _has_sizes(flags["model"])
    return ValidationJob(
        kind="arm",
        name="",
        model=flags["model"],
        steps=flags["steps"],
        batch_size=flags["batch_size"] or (CPU_BATCH if is_known else None),
        seq_len=flags["seq_len"] or (seq_len if is_known else None),
        device=device,
        dtype=flags["dtype"],
        seed=flags["seed"],
        threads=flags["threads"],
        processes=flags["processes"],
    )


def _device(name: str | None) -> str:
    """Name of the device, e.g. cpu or cuda:0, after a check that it exists.

    Raises:
        DeviceError: it is not.
    """
    from hpt.run.device import find_device  # noqa: PLC0415 - imports torch

    device = find_device(name)
    if device.type not in {"cpu", "cuda"}:
        raise DeviceError(f"--device {name} has no memory statistics here; use cpu or cuda")
    return str(device)


def _check_group(processes: int, device: str) -> None:
    """Every process of an arm can have a device.

    Raises:
        UsageError: one GPU was named, and several are needed.
        DeviceError: there are fewer.
    """
    if processes == 1 or device == "cpu":
        return
    if device != "cuda":
        raise UsageError(f"--device is {device}, and --processes {processes} takes a GPU for each; give --device cuda")
    import torch  # noqa: PLC0415 - takes its time

    if torch.cuda.device_count() < processes:
        raise DeviceError(
            f"--processes is {processes}, and this machine has {torch.cuda.device_count()} GPUs; "
            "lower it, or use --device cpu"
        )


def _has_sizes(model: str) -> bool:
    """The model takes a batch size and a sequence length; others bring their own.

    Raises:
        UsageError: there is no such model.
    """
    from hpt.workloads.gpt2 import SIZES  # noqa: PLC0415 - imports torch
    from hpt.workloads.registry import WORKLOADS  # noqa: PLC0415

    if ":" not in model and model not in WORKLOADS:
        raise UsageError(f"--model is {model!r}; choose from {', '.join(WORKLOADS)}, or package.module:factory")
    return model in SIZES


def _estimate(flags: dict[str, Any], folder: Path, console: Any) -> int:
    """Estimate the memory on a CUDA device, store and print it; with a budget also what fits. Returns the exit code."""
    from hpt.cli.validate_display import closing_of_estimate, show_estimate, show_plans  # noqa: PLC0415 - brings numpy and scipy
    from hpt.validate.estimating import estimate_job, plan_job  # noqa: PLC0415 - imports torch

    job = replace(_job(flags, device="cpu", seq_len=CONTEXT), kind="estimate", name="cuda", processes=1)
    file = folder / "estimate.json"
    refuse_foreign(file, "estimate")
    claim(folder, "validation", *MARKS)
    check_writable(folder)
    console.print(f"estimating {job.model} on a CUDA device; nothing is measured", soft_wrap=True)
    budget, wanted = flags["budget_gb"], flags["batch_size"] or WANTED_BATCH
    with redirect_stdout(sys.stderr):  # a workload may print; stdout is for the result
        estimate = estimate_job(job)
        plans = None if budget is None else plan_job(job, budget * GIB, wanted)
    document = jsonable({"schema_version": 1, "kind": "estimate", "estimate": estimate, "plans": plans})
    write_json(file, document)
    if flags["as_json"]:
        click.echo(json.dumps(document, allow_nan=False))
    else:
        if not flags["quiet"]:
            show_estimate(estimate, result_console())
            if plans is not None:
                show_plans(plans, result_console())
        show_closing(closing_of_estimate(document, job.model), result_console())
    return EXIT_DONE if plans is None or plans["fits"] else EXIT_FINDING


def _exit_code(document: dict[str, Any], *, strict: bool) -> int:
    if document["num_out_of_memory"]:
        return OutOfMemory.exit_code
    if document["verdict"] == "failed":
        return EXIT_FINDING
    return InconclusiveError.exit_code if strict and document["verdict"] == "inconclusive" else EXIT_DONE
