"""`hpt profile`: where a step's time goes, what a predicted step costs, and what larger models would cost."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from hpt.cli.main import debug_option
from hpt.config import PREDICTORS
from hpt.errors import EXIT_DONE, UsageError
from hpt.jsonfiles import write_json
from hpt.machine import describe_machine, utc_now
from hpt.run.settings import DEFAULT_WORKLOAD

PROFILE_SCHEMA_VERSION = 1
CLAIMED_REDUCTION = 0.7  # of a step's overhead, by the system this one follows
EPILOG = """\b
Examples:
  hpt profile --workload byte-gpt
  hpt profile --workload mlp --predictor nesterov --json
  hpt profile --workload byte-gpt --summary runs/standard/summary.json
"""


@click.command(epilog=EPILOG)
@click.option("--workload", default=DEFAULT_WORKLOAD, show_default=True, metavar="NAME", help="What to profile.")
@click.option("--predictor", default="rssm", show_default=True, metavar="NAME", help=", ".join(PREDICTORS))
@click.option("--steps", type=click.IntRange(min=1), default=3000, show_default=True, help="Planned length; sets K.")
@click.option("--cycles", type=click.IntRange(min=2), default=20, show_default=True, help="Cycles to time.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of torch. [default: torch's choice]")
@click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1. [default: cuda where there is one, else cpu]")
@click.option("--data", metavar="PATH", help="Your text, for the text workloads.")
@click.option("--steps-ratio", type=click.FloatRange(min=0.0, min_open=True), help="What a jump is worth, if known.")
@click.option("--summary", metavar="FILE", help="Take that ratio, and the measured speed-up, from hpt compare.")
@click.option("--arm", default="hybrid", show_default=True, help="Whose ratio in that summary.")
@click.option("--tokens-per-step", type=click.IntRange(min=1), help="Of the projected models. [default: as profiled]")
@click.option("--out", metavar="FILE", help="Write the JSON document there, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, and nothing else, on stdout.")
@debug_option
def profile(*, out: str | None, as_json: bool, summary: str | None, steps_ratio: float | None, **flags: Any) -> int:
    """Measure where a step's time goes, part by part, and what a predicted step costs.

    The trainer runs beside the plain loop in one process, jumps forced and forks off. Costs for the GPT-2 family are
    projected from the measured parts and marked so.
    """
    worth = _worth(steps_ratio, summary, flags["workload"], flags["arm"])
    document = _measure(flags, worth)
    if out is not None:
        path = Path(out)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, document)
    if as_json:
        click.echo(json.dumps(document, allow_nan=False))
    else:
        _show(document, Console())
    return EXIT_DONE


def _worth(steps_ratio: float | None, summary: str | None, workload: str, arm: str) -> dict[str, Any]:
    """Steps ratio and measured wall-clock ratio, as far as they are known.

    Raises:
        UsageError: the summary cannot be read, or lacks the arm.
    """
    if summary is None:
        source = None if steps_ratio is None else "--steps-ratio"
        return {"steps_ratio": steps_ratio, "wall_ratio": None, "source": source}
    try:
        found = json.loads(Path(summary).read_text(encoding="utf-8"))["workloads"][workload]["arms"][arm]["measures"]
        wall = found["wall_ratio"]
        ratio = steps_ratio or found["steps_ratio"]["value"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"--summary {summary} has no measures of {arm} on {workload} ({type(error).__name__}); name a finished one"
        ) from error
    return {"steps_ratio": ratio, "wall_ratio": None if wall is None else wall["value"], "source": summary}


def _measure(flags: Mapping[str, Any], worth: Mapping[str, Any]) -> dict[str, Any]:
    import torch  # noqa: PLC0415 - takes seconds; a wrong flag is refused before

    from hpt.compare.parts_profile import profile_parts  # noqa: PLC0415
    from hpt.run.session import find_device  # noqa: PLC0415
    from hpt.workloads.registry import load_workload  # noqa: PLC0415

    device = find_device(flags["device"])
    if flags["threads"] is not None:
        torch.set_num_threads(flags["threads"])
    data = None if flags["data"] is None else Path(flags["data"])
    workload = load_workload(flags["workload"], seed=0, data=data, device=device)
    parts = profile_parts(workload, flags["predictor"], total_steps=flags["steps"], cycles=flags["cycles"])
    ratio = worth["steps_ratio"]
    predicted, measured = (None, None) if ratio is None else parts.speed_ratio(ratio)
    nominal, _ = parts.speed_ratio(parts.nominal_steps_ratio)
    jump_cost = parts.jump_cost_ratio
    return {
        "schema_version": PROFILE_SCHEMA_VERSION,
        "kind": "profile",
        "finished_at": utc_now(),
        "workload": dict(workload.description),
        "predictor": flags["predictor"],
        "machine": describe_machine(device=str(device), threads=torch.get_num_threads()),
        "parts": parts.to_document(),
        "reduction": {
            "claimed": CLAIMED_REDUCTION,
            "measured_jump_and_probe": None if jump_cost is None else 1.0 - jump_cost,
            "measured_everything": None if parts.whole_cost_ratio is None else 1.0 - parts.whole_cost_ratio,
        },
        "speed": {
            **worth,
            "predicted_wall_ratio": predicted,
            "wall_ratio_at_measured_cost": measured,
            "nominal_wall_ratio": nominal,
        },
        "projection": _projections(workload, parts, flags["tokens_per_step"]),
    }


def _projections(workload: Any, parts: Any, tokens_per_step: int | None) -> dict[str, Any] | None:
    """Projected costs of the GPT-2 family; None where the profiled workload is no GPT."""
    from hpt.compare.projection import Sizes, project  # noqa: PLC0415
    from hpt.workloads.gpt2 import SIZES  # noqa: PLC0415
    from hpt.workloads.language import LanguageSetup  # noqa: PLC0415

    setup = getattr(workload, "setup", None)
    if not isinstance(setup, LanguageSetup):
        return None
    tokens = setup.batch_size * setup.seq_len

    def sizes(shape: Any, tokens: int, seq_len: int) -> Sizes:
        names = ("layers", "dim", "vocabulary", "context")
        return Sizes(
            **{name: getattr(shape, name) for name in names},
            tokens_per_step=tokens,
            seq_len=seq_len,
        )

    measured = sizes(setup.shape, tokens, setup.seq_len)
    covered = parts.covered_steps / (parts.cycles * parts.cycle_steps)
    wanted = tokens_per_step or tokens
    family = {name: size.shape() for name, size in SIZES.items() if name != "gpt2-nano"}
    return {
        "is_projection": True,
        "models": {
            name: project(
                measured, sizes(shape, wanted, min(wanted, shape.context)), parts.part_s, covered
            ).to_document()
            for name, shape in family.items()
        },
    }


def _show(document: Mapping[str, Any], console: Console) -> None:
    parts = document["parts"]
    console.print(_parts_table(parts))
    cost = parts["cost_ratio"]
    lines = [
        f"plain step {_ms(parts['plain_step_s'])}, trainer's update {_ms(parts['update_s'])}: cost ratio measured "
        f"{cost['value']:.3f} [{cost['low']:.3f}, {cost['high']:.3f}], predicted from parts "
        f"{parts['predicted_cost_ratio']:.3f}",
        _reduction_line(document["reduction"], parts),
        _speed_line(document["speed"]),
        f"memory probe {parts['memory_probe_s'] * 1e6:.0f} us, {parts['memory_probes']} times",
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
    if document["projection"] is not None:
        console.print(_projection_table(document["projection"]["models"]))


def _parts_table(parts: Mapping[str, Any]) -> Table:
    table = Table(title=f"an update, {parts['cycles']} cycles of {parts['cycle_steps']}, {parts['jumps']} jumps kept")
    for name, side in (("part", "left"), ("time an update", "right"), ("share", "right")):
        table.add_column(name, justify="right" if side == "right" else "left")
    total = sum(parts["part_s"].values())
    for name, seconds in parts["part_s"].items():
        table.add_row(name, _ms(seconds), f"{seconds / total:.1%}")
    table.add_section()
    for kind in ("detail_s", "phase_s"):
        for name, seconds in parts[kind].items():
            table.add_row(f"of which {name}", _ms(seconds), f"{seconds / total:.1%}")
        table.add_section()
    return table


def _reduction_line(reduction: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    if parts["jump_cost_ratio"] is None:
        return "cost of a covered step: not measured, no jump was kept"
    return (
        f"a covered step costs {parts['jump_cost_ratio']:.1%} of a full one (jump and probe), "
        f"{parts['whole_cost_ratio']:.1%} with everything the trainer adds: a reduction of "
        f"{reduction['measured_jump_and_probe']:.0%} and {reduction['measured_everything']:.0%}, where "
        f"{reduction['claimed']:.0%} were claimed; whether a covered step is worth a full one is what compare measures"
    )


def _speed_line(speed: Mapping[str, Any]) -> str:
    nominal = f"if every covered step were worth a full one, {speed['nominal_wall_ratio']:.3f}x"
    if speed["steps_ratio"] is None:
        return f"speed-up: not known, because what a jump is worth is not (--summary); {nominal}"
    measured = speed["wall_ratio"]
    said = "not measured" if measured is None else f"{measured:.3f}x"
    return (
        f"speed-up predicted from parts at a steps ratio of {speed['steps_ratio']:.3f} ({speed['source']}): "
        f"{speed['predicted_wall_ratio']:.3f}x, measured by compare: {said}; {nominal}"
    )


def _projection_table(models: Mapping[str, Any]) -> Table:
    table = Table(title="PROJECTION from these parts, not measured")
    for name in ("model", "weights", "tokens a step", "plain step", "update", "cost ratio", "covered step"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for name, found in models.items():
        covered = found["jump_cost_ratio"]
        table.add_row(
            name,
            f"{found['parameters'] / 1e6:.0f} M",
            str(found["tokens_per_step"]),
            f"{found['plain_step_s']:.2f} s",
            f"{found['update_s']:.2f} s",
            f"{found['cost_ratio']:.4f}",
            "-" if covered is None else f"{covered:.1%}",
        )
    return table


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.4f} ms"
