"""The tables of a benchmark run: times, cost per unit of work, scaling, and what to make of noise."""

import math

from rich.console import Console
from rich.table import Table

from hpt.bench.fingerprint import describe_mode
from hpt.bench.folder import BenchFolder
from hpt.bench.scaling import scalings
from hpt.bench.session import Outcome
from hpt.bench.summary import ADVICE, LOW_VARIANCE_FRAC, Summary, low_variance

_WIDE = 160  # columns where nobody tells how many there are
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"), (1e-12, "ps"))


def result_console() -> Console:
    """Console of stdout that does not cut tables where they are written to a file."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDE)


def show_outcome(outcome: Outcome, folder: BenchFolder, console: Console) -> None:
    """Print everything about a run."""
    if outcome.rows:
        console.print(outcome_table(outcome, describe_mode(folder.settings)))
        for line in remarks(outcome.rows):
            console.print(line, highlight=False, soft_wrap=True)
    console.print(f"Files: {folder.path}", highlight=False, soft_wrap=True)


def outcome_table(outcome: Outcome, title: str) -> Table:
    """One row a scenario."""
    table = Table(title=title)
    table.add_column("scenario", no_wrap=True)
    for name in ("median", "mean", "std", "5 %", "95 %", "values", "CV", "per unit of work"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("stability", no_wrap=True)
    for row in outcome.rows:
        times = (row.median_s, row.mean_s, row.std_s, row.p5_s, row.p95_s)
        table.add_row(
            row.name,
            *(time_text(one) for one in times),
            str(row.num_values),
            f"{row.cv_frac:.1%}",
            f"{time_text(row.unit_cost_s)} / {row.unit}",
            ", ".join(row.marks) or "ok",
        )
    for name in outcome.failures:
        table.add_row(name, *["-"] * 8, "failed")
    return table


def remarks(rows: tuple[Summary, ...]) -> list[str]:
    """Scaling, what units consist of, and noise, in sentences."""
    lines = [*_scaling_lines(rows), *_parts_lines(rows)]
    share = low_variance(rows)
    more = f"; not {', '.join(share['above'])}" if share["above"] else ""
    lines.append(
        f"{share['num_below']} of {share['num_scenarios']} scenarios vary by less than {LOW_VARIANCE_FRAC:.0%}{more}"
    )
    marked = {mark for row in rows for mark in row.marks}
    return lines + [f"{mark}: {advice}" for mark, advice in ADVICE.items() if mark in marked]


def _scaling_lines(rows: tuple[Summary, ...]) -> list[str]:
    return [
        f"{one.group}: {time_text(one.slope_s)} per {one.unit}, and {time_text(one.intercept_s)} a call besides "
        f"(line through {one.num_sizes} scenarios, R2 {one.r_squared:.5f})"
        for one in scalings(rows)
    ]


def _parts_lines(rows: tuple[Summary, ...]) -> list[str]:
    """What a unit of work consists of and costs: by the slope, once, where a group has one, else by scenario."""
    slopes = {(one.group, one.unit): one.slope_s for one in scalings(rows)}
    lines: dict[str, None] = {}
    for row in rows:
        group = row.name.partition("/")[0]
        slope_s = slopes.get((group, row.unit))
        name, cost_s = (row.name, row.unit_cost_s) if slope_s is None else (group, slope_s)
        for part, count in row.per_unit.items():
            lines[f"{name}: {count:g} {part}s per {row.unit}, {time_text(cost_s / count)} per {part}"] = None
    return list(lines)


def time_text(seconds: float) -> str:
    """Three significant digits in the unit that fits: '12.3 us'."""
    if seconds == 0:
        return "0 s"
    rounded = float(f"{seconds:.3g}")
    size, unit = next((one for one in _UNITS if abs(rounded) >= one[0]), _UNITS[-1])
    digits = max(0, 2 - math.floor(math.log10(abs(rounded / size)) + 1e-9))
    return f"{rounded / size:.{digits}f} {unit}"
