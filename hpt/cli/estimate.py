"""`hpt estimate`: the peak memory of training, before it runs and without the device."""

import json
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

import click
from rich.console import Console

from hpt.cli.console import result_console
from hpt.cli.main import debug_option
from hpt.cli.options import Real
from hpt.cli.tables import table
from hpt.config import HybridConfig
from hpt.errors import EXIT_DONE
from hpt.validate.plan import DTYPES, GIB, gib_text

EXIT_FINDING = 3
MIB = 1024**2
EPILOG = """\b
Examples:
  hpt estimate my_package.my_module:factory --budget-gb 16
  hpt estimate my_workload:factory --hybrid --dtype bf16
  hpt estimate gpt2-xl --budget-gb 80 --json
  hpt estimate mlp --device cpu
"""


@click.command(epilog=EPILOG)
@click.argument("target", metavar="PACKAGE.MODULE:FACTORY")
@click.option("--budget-gb", type=Real(0.1, 1e6), help="Does it fit a device of so many GiB, and how large a batch?")
@click.option(
    "--dtype",
    type=click.Choice(DTYPES),
    help="bf16 is autocast, bf16-weights holds weights and moments in bf16. [default: as the model is]",
)
@click.option("--hybrid", is_flag=True, help="With what HybridTrainer keeps for its jumps.")
@click.option(
    "--device", type=click.Choice(("cuda", "cpu")), default="cuda", show_default=True, help="Whose allocator."
)
@click.option("--json", "as_json", is_flag=True, help="Print the estimate as JSON, and nothing else, on stdout.")
@debug_option
def estimate(*, target: str, budget_gb: float | None, as_json: bool, **flags: Any) -> int:
    """Estimate the peak memory of training, without the device and without allocating it.

    The factory takes no argument and returns (model, batch, optimizer, loss_fn), or it makes a workload, as for
    `hpt train --workload`; the name of a workload does, too. A step is run on tensors that have shapes and no bytes.
    What does not fit the budget exits with 3.
    """
    with redirect_stdout(sys.stderr):  # a factory may print; stdout is for the result
        document = _document(target, None if budget_gb is None else budget_gb * GIB, **flags)
    if as_json:
        click.echo(json.dumps(document, allow_nan=False))
    else:
        _show(document, result_console())
    return EXIT_FINDING if document["fits"] is False else EXIT_DONE


def _document(
    target: str, budget_bytes: float | None, *, hybrid: bool, dtype: str | None, device: str
) -> dict[str, Any]:
    from hpt.memory.estimate import estimate_memory  # noqa: PLC0415 - imports torch, which takes seconds
    from hpt.workloads.problem import load_problem  # noqa: PLC0415

    problem = load_problem(target, for_cuda=device == "cuda")
    update = {"clip_norm": problem.clip_norm}
    config = HybridConfig.from_dict({"update": update} | ({} if hybrid else {"predictor": "none"}))
    found = estimate_memory(
        problem.model,
        problem.batch,
        problem.optimizer,
        problem.loss_fn,
        trainer=config,
        dtype=dtype,
        device=device,
    )
    fits = None if budget_bytes is None else found.fits(budget_bytes)
    can_grow = budget_bytes is not None and found.batch_size > 0
    return {
        "schema_version": 1,
        "kind": "memory-estimate",
        "target": target,
        "device": device,
        "dtype": dtype,
        "hybrid": hybrid,
        "batch_size": found.batch_size,
        "total_bytes": found.total_bytes,
        "breakdown": found.breakdown,
        "phases": found.phases,
        "host_bytes": found.host_bytes,
        "least_budget_bytes": found.least_budget_bytes,
        "budget_bytes": None if budget_bytes is None else int(budget_bytes),
        "fits": fits,
        "largest_batch": found.largest_batch(budget_bytes) if budget_bytes is not None and can_grow else None,
        "limits": list(found.limits),
    }


def _show(document: Mapping[str, Any], console: Console) -> None:
    total = document["total_bytes"]
    rows = [
        (name.replace("_", " "), f"{count / MIB:.1f} MiB", f"{count / total:.1%}")
        for name, count in document["breakdown"].items()
        if count
    ]
    phases = ", ".join(f"{name} {count / MIB:.1f} MiB" for name, count in document["phases"].items())
    where = f"{document['target']} on {document['device']}, batch {document['batch_size']}"
    title = f"{where}: {total / MIB:.1f} MiB at the peak"
    console.print(table(title, ("at the peak", "bytes", "share"), rows, width=console.width))
    console.print(f"by phase: {phases}", soft_wrap=True)
    if document["host_bytes"]:
        console.print(f"beside it, pinned on the host: {document['host_bytes'] / MIB:.1f} MiB", soft_wrap=True)
    console.print(f"smallest device: {gib_text(document['least_budget_bytes'])}", soft_wrap=True)
    if document["fits"] is not None:
        console.print(_answer(document), soft_wrap=True)
    for limit in document["limits"]:
        console.print(f"  {limit}", soft_wrap=True)


def _answer(document: Mapping[str, Any]) -> str:
    budget = f"{document['budget_bytes'] / GIB:.1f} GiB"
    said = f"it {'fits' if document['fits'] else 'does not fit'} {budget} at batch {document['batch_size']}"
    largest = document["largest_batch"]
    if largest is None:
        return said
    return f"{said}; the largest batch that fits is {largest}" if largest else f"{said}, and no smaller batch does"
