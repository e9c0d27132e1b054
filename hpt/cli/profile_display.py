"""What `hpt profile` prints to people: tables of components, and sentences for what follows from them."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console, RenderableType

from hpt.cli.tables import table


def show_profile(document: Mapping[str, Any], console: Console) -> None:
    """Print parts of a step, what a jump costs, the speed-up as far as it is known, and projections."""
    parts = document["parts"]
    console.print(_components_table(parts, console.width))
    cost = parts["cost_ratio"]
    lines = [
        f"plain step {_ms(parts['plain_step_s'])}, trainer's update {_ms(parts['update_s'])}: cost ratio measured "
        f"{cost['value']:.3f} [{cost['low']:.3f}, {cost['high']:.3f}], predicted from components "
        f"{parts['predicted_cost_ratio']:.3f}",
        _reduction_line(document["reduction"], parts),
        _speed_line(document["speed"]),
        f"one memory reading {parts['memory_probe_s'] * 1e6:.0f} us, {parts['memory_probes']} times",
    ]
    for line in lines:
        console.print(line, soft_wrap=True)
    if document["projection"] is not None:
        console.print(_projection_table(document["projection"]["models"], console.width))


def _components_table(parts: Mapping[str, Any], width: int) -> RenderableType:
    title = f"an update, {parts['cycles']} cycles of {parts['cycle_steps']}, {parts['jumps']} jumps kept"
    details = {f"of which {name}": seconds for kind in ("detail_s", "phase_s") for name, seconds in parts[kind].items()}
    total = sum(parts["part_s"].values())
    rows = [(name, _ms(seconds), f"{seconds / total:.1%}") for name, seconds in (parts["part_s"] | details).items()]
    return table(title, ("component", "time an update", "share"), rows, width=width)


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
        f"speed-up predicted from components at a steps ratio of {speed['steps_ratio']:.3f} ({speed['source']}): "
        f"{speed['predicted_wall_ratio']:.3f}x, measured by compare: {said}; {nominal}"
    )


def _projection_table(models: Mapping[str, Any], width: int) -> RenderableType:
    head = ("model", "cost ratio", "covered step", "plain step", "update", "weights", "tokens a step")
    rows = [
        (
            name,
            f"{found['cost_ratio']:.4f}",
            "-" if found["jump_cost_ratio"] is None else f"{found['jump_cost_ratio']:.1%}",
            f"{found['plain_step_s']:.2f} s",
            f"{found['update_s']:.2f} s",
            f"{found['parameters'] / 1e6:.0f} M",
            str(found["tokens_per_step"]),
        )
        for name, found in models.items()
    ]
    title = "PROJECTION from these components, not measured"
    return table(title, head, rows, width=width, keep=("cost ratio", "covered step"))


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.4f} ms"


def show_overhead(document: Mapping[str, Any], console: Console) -> None:
    """Print the trainer's own time in a full step, by component, and its transfers if they were counted."""
    title = f"a full step, {document['blocks']} blocks of {document['block_steps']}"
    plain_s = document["plain_step_s"]
    rows = [(name, _ms(seconds), f"{seconds / plain_s:.2%}") for name, seconds in document["part_s"].items()]
    console.print(table(title, ("component", "time a step", "of a plain step"), rows, width=console.width))
    extra, share = document["difference_s"], document["difference_frac"]
    lines = [
        f"plain step {_ms(document['plain_step_s'])}, trainer's {_ms(document['trainer_step_s'])}, "
        f"{document['threads']} thread{'s' if document['threads'] > 1 else ''}",
        f"the trainer's own time in a full step: {_ms(extra['value'])} [{_ms(extra['low'])}, {_ms(extra['high'])}], "
        f"{share['value']:.2%} [{share['low']:.2%}, {share['high']:.2%}] of a step",
    ]
    if document["transfers"] is not None:
        reads = document["transfers"]
        lines.append(
            f"reads of the device: {reads['full_step']} in a full step, {reads['cycle']} in a whole cycle of "
            f"{document['block_steps']}; {reads['plain_step']} in a plain step"
        )
    for line in lines:
        console.print(line, soft_wrap=True)
