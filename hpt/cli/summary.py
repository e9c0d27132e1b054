"""What is shown when a run ends: loss against chance, phases, the work done and where the time went."""

from collections.abc import Mapping

from rich.console import Console, Group
from rich.table import Table

from hpt.cli.progress import duration
from hpt.store import RunRecord

SHORT_S = 60.0  # below this, fractions of a second matter
SHOWN_COUNTERS = (
    "optimizer_updates",
    "forwards",
    "backwards",
    "jumps_proposed",
    "jumps_accepted",
    "jumps_rejected",
    "jumps_rolled_back",
    "steps_covered_by_jumps",
    "forks",
    "full_step_equivalents",
)


def show_summary(record: RunRecord, folder: str, console: Console) -> None:
    """Print the tables of a run and where its files are."""
    console.print(Group(outcome_table(record), _side_by_side(record)))
    console.print(f"Files: {folder}", highlight=False, soft_wrap=True)


def outcome_table(record: RunRecord) -> Table:
    """How the run ended: status, loss against the chance level, confidence, wall time."""
    table = Table(title=f"{record.workload['name']}, {record.config['predictor']}, seed {record.seed}")
    table.add_column("outcome")
    table.add_column("value", justify="right")
    table.add_row("status", record.status if record.message is None else f"{record.status}: {record.message}")
    table.add_row("updates", f"{_text(record.num_updates)} of {record.settings['steps']}")
    table.add_row("validation loss", "not measured" if record.final_loss is None else _text(record.final_loss))
    table.add_row("chance level", _text(record.workload["chance_loss"]))
    for name, value in (record.confidence or {}).items():
        if isinstance(value, (int, float, str)):
            table.add_row(f"confidence {name}".replace("_", " "), _text(value))
    short = record.wall_s is not None and record.wall_s < SHORT_S
    table.add_row("wall time", f"{record.wall_s:.2f} s" if short else duration(record.wall_s))
    return table


def _side_by_side(record: RunRecord) -> Table:
    grid = Table.grid(padding=(0, 2))
    shown = {name: (record.counters or {}).get(name) for name in SHOWN_COUNTERS}
    grid.add_row(
        _table("phase", "calls", record.phases or {}),
        _table("work", "count", shown),
        _table("time in", "s", (record.seconds or {}).get("part", {})),
    )
    return grid


def _table(key: str, value: str, rows: Mapping[str, object]) -> Table:
    table = Table()
    table.add_column(key)
    table.add_column(value, justify="right")
    for name, number in rows.items():
        table.add_row(name.replace("_", " "), _text(number))
    return table


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
