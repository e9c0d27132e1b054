"""How far a benchmark run is, on stderr, its tables (times, cost per unit of work, scaling, noise), its last lines."""

import math
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from rich.console import Console

from hpt.bench.comparison import BenchComparison
from hpt.bench.folder import BenchFolder
from hpt.bench.plan import describe_mode
from hpt.bench.session import BenchResult
from hpt.bench.summary import ADVICE, LOW_VARIANCE_FRAC, BenchRow, low_variance, scalings
from hpt.cli.closing import Closing, report_of
from hpt.cli.console import LiveBar, duration
from hpt.cli.tables import table

HEAD = ("scenario", "median +- std", "per unit of work", "mean", "5 %", "95 %", "values", "CV", "stability")
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"), (1e-12, "ps"))


class BenchProgress:
    """Shows what `hpt.bench.session` tells.

    Args:
        num_scenarios: that were asked for.
        console: of stderr.
        clock: seconds, monotonic.
    """

    def __init__(self, num_scenarios: int, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.num_done = 0
        self._num_scenarios, self._console, self._clock = num_scenarios, console, clock
        self._num_measured, self._began_s = 0, clock()
        self._bar = LiveBar(console, num_scenarios) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.__exit__()

    @property
    def left_s(self) -> float | None:
        """Seconds to the end, at the speed of the scenarios measured so far; None before the first."""
        if not self._num_measured:
            return None
        return (self._clock() - self._began_s) / self._num_measured * (self._num_scenarios - self.num_done)

    def watch(self, name: str, state: str) -> None:
        """Show the state of a scenario: measuring, kept, finished or failed with its reason."""
        if state in {"finished", "kept"} or state.startswith("failed"):
            self.num_done = min(self.num_done + 1, self._num_scenarios)
            self._num_measured += state != "kept"
        self._show(name, state)

    def _show(self, name: str, state: str) -> None:
        facts = (f"{duration(self.left_s)} left", f"{name} {state}")
        if self._bar is not None:
            self._bar.draw(self.num_done, facts)
        elif state != "measuring":
            self._console.print("  ".join((f"{self.num_done}/{self._num_scenarios}", *facts)), soft_wrap=True)


def show_outcome(outcome: BenchResult, folder: BenchFolder, console: Console) -> None:
    """Print the table of scenarios, remarks on scaling and noise, and the folder."""
    if outcome.rows:
        rows = [*map(_cells, outcome.rows), *((name, *["-"] * (len(HEAD) - 2), "failed") for name in outcome.failures)]
        title = describe_mode(folder.settings)
        console.print(table(title, HEAD, rows, width=console.width, keep=("median +- std", "stability")))
        for line in remarks(outcome.rows):
            console.print(line, soft_wrap=True)
    console.print(f"Files: {folder.path}", soft_wrap=True)


def closing_of(
    outcome: BenchResult, folder: Path, targets: Sequence[str], mode: str, comparison: BenchComparison | None
) -> Closing:
    """The last lines of a benchmark run.

    Args:
        outcome: what was measured.
        folder: of the run.
        targets: as they were asked for.
        mode: fast, default or rigorous.
        comparison: with a baseline, if one was named.
    """
    steady = sum(not row.marks for row in outcome.rows)
    result = f"{len(outcome.rows)} scenarios timed, {steady} of them stable"
    if outcome.is_interrupted:
        again = shlex.join(["hpt", "bench", *targets, "--out", str(folder)])
        return Closing(f"{result}; interrupted", "What is finished is kept.", again)
    if outcome.failures:
        names = ", ".join(outcome.failures)
        meaning = f"Failed: {names}; whole messages are in {folder / 'errors'}."
        return Closing(
            f"{result}, {len(outcome.failures)} failed", meaning, shlex.join(["hpt", "bench", *outcome.failures])
        )
    if comparison is not None:
        return Closing(result, _speed_words(comparison), report_of("phase2", folder))
    shaky = [row.name for row in outcome.rows if row.marks]
    if shaky and mode != "rigorous":
        meaning = f"Too unsteady to compare with another run: {', '.join(shaky)}."
        return Closing(result, meaning, shlex.join(["hpt", "bench", *targets, "--rigorous"]))
    meaning = (
        f"Compare with care: {', '.join(shaky)}." if shaky else "They can be compared with other runs on this machine."
    )
    return Closing(result, meaning, report_of("phase2", folder))


def _speed_words(comparison: BenchComparison) -> str:
    by_verdict: dict[str, list[str]] = {}
    for row in comparison.rows:
        by_verdict.setdefault(row.verdict.value, []).append(row.name)
    found = [f"{word}: {', '.join(by_verdict[word])}" for word in ("regressed", "improved") if word in by_verdict]
    return "; ".join(found) + "." if found else "No scenario is provably slower or faster than the baseline."


def _cells(row: BenchRow) -> tuple[str, ...]:
    return (
        row.name,
        spread_text(row.median_s, row.std_s),
        f"{time_text(row.unit_cost_s)} / {row.unit}",
        *(time_text(one) for one in (row.mean_s, row.p5_s, row.p95_s)),
        str(row.num_values),
        f"{row.cv_frac:.1%}",
        ", ".join(row.marks) or "ok",
    )


def remarks(rows: tuple[BenchRow, ...]) -> list[str]:
    """Scaling, what units consist of, and noise, in sentences."""
    lines = [*_scaling_lines(rows), *_parts_lines(rows)]
    share = low_variance(rows)
    more = f"; not {', '.join(share['above'])}" if share["above"] else ""
    lines.append(
        f"{share['num_below']} of {share['num_scenarios']} scenarios vary by less than {LOW_VARIANCE_FRAC:.0%}{more}"
    )
    marked = {mark for row in rows for mark in row.marks}
    return lines + [f"{mark}: {advice}" for mark, advice in ADVICE.items() if mark in marked]


def _scaling_lines(rows: tuple[BenchRow, ...]) -> list[str]:
    return [
        f"{one.group}: {time_text(one.slope_s)} per {one.unit}, and {time_text(one.intercept_s)} a call besides "
        f"(line through {one.num_sizes} scenarios, R2 {one.r_squared:.5f})"
        for one in scalings(rows)
    ]


def _parts_lines(rows: tuple[BenchRow, ...]) -> list[str]:
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
    size, unit = _unit(seconds)
    return f"{_digits(seconds / size, 3)} {unit}"


def spread_text(seconds: float, std_s: float) -> str:
    """The same with two digits of its spread, in one unit: '12.3 +- 0.45 us'."""
    size, unit = _unit(seconds)
    return f"{_digits(seconds / size, 3)} +- {_digits(std_s / size, 2)} {unit}"


def _unit(seconds: float) -> tuple[float, str]:
    rounded = abs(float(f"{seconds:.3g}"))
    return _UNITS[0] if rounded == 0 else next((one for one in _UNITS if rounded >= one[0]), _UNITS[-1])


def _digits(value: float, count: int) -> str:
    """`value` to `count` significant digits, without an exponent."""
    rounded = float(f"{value:.{count}g}")
    places = 0 if rounded == 0 else max(0, count - 1 - math.floor(math.log10(abs(rounded)) + 1e-9))
    return f"{rounded:.{places}f}"
