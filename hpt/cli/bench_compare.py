"""`hpt bench compare`: two runs, one verdict a scenario, and an exit code that a pipeline can act on."""

import json

import click
from rich.console import Console

from hpt.bench.comparison import ALPHA, MIN_EFFECT_FRAC, BenchComparison, Compared, SpeedVerdict, compare
from hpt.bench.measurement import load_run
from hpt.cli.bench_display import spread_text, time_text
from hpt.cli.console import result_console
from hpt.cli.main import debug_option
from hpt.cli.options import parse_percent
from hpt.cli.tables import table
from hpt.errors import EXIT_DONE, InconclusiveError

EXIT_FINDING = 3
HEAD = ("scenario", "median +- std", "ratio", "95 % interval", "old", "control", "p", "verdict")
KEPT = ("median +- std", "ratio", "verdict")
EPILOG = """\b
Examples:
  hpt bench compare runs/old runs/new
  hpt bench compare before runs/new --gate 5%      (before: made with --save-baseline before)
  hpt bench compare old.json new.json --min-effect 1% --strict --json
"""


@click.command("compare", epilog=EPILOG)
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option(
    "--gate", metavar="PERCENT", help="Exit with 3 if a scenario is slower by more than this, beyond noise, e.g. 5%."
)
@click.option(
    "--min-effect",
    metavar="PERCENT",
    default=f"{MIN_EFFECT_FRAC:.0%}",
    show_default=True,
    help="Differences up to this count as none.",
)
@click.option("--strict", is_flag=True, help="Exit with 4 if a scenario is inconclusive, or missing in NEW.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@debug_option
def compare_command(*, old: str, new: str, gate: str | None, min_effect: str, strict: bool, as_json: bool) -> int:
    """Compare two runs: folders, pyperf files of hpt bench, or names of baselines.

    Verdicts: regressed, improved (by more than --min-effect, at 5 % over all scenarios together), same (the interval
    lies within it), within noise, inconclusive. Another machine or nothing in common: exit code 5.
    """
    comparison = compare(
        load_run(old),
        load_run(new),
        gate_frac=parse_percent("--gate", gate),
        min_effect_frac=parse_percent("--min-effect", min_effect) or MIN_EFFECT_FRAC,
    )
    if as_json:
        click.echo(json.dumps(comparison.to_document(), allow_nan=False))
    else:
        show_comparison(comparison, result_console())
    return conclude(comparison, strict=strict)


def conclude(comparison: BenchComparison, *, strict: bool = False) -> int:
    """Exit code of a comparison; the reason goes to stderr."""
    if comparison.past_gate:
        names = ", ".join(row.name for row in comparison.past_gate)
        percent = 100.0 * (comparison.gate_frac or 0.0)
        click.echo(f"hpt: slower than before by more than {percent:.3g} %: {names}", err=True)
        return EXIT_FINDING
    undecided = [row.name for row in comparison.rows if row.verdict == SpeedVerdict.INCONCLUSIVE]
    undecided += [f"{name} (only in old)" for name in comparison.only_old]
    if strict and undecided:
        click.echo(f"hpt: inconclusive: {', '.join(undecided)}", err=True)
        return InconclusiveError.exit_code
    return EXIT_DONE


def show_comparison(comparison: BenchComparison, console: Console) -> None:
    """Print the table of ratios, the control, and what differs between the two runs."""
    title = f"new over old, alarms at {ALPHA:.0%} for all scenarios together"
    console.print(table(title, HEAD, list(map(_cells, comparison.rows)), width=console.width, keep=KEPT))
    for line in _remarks(comparison):
        console.print(line, soft_wrap=True)


def _cells(row: Compared) -> list[str]:
    interval = "-" if row.low is None or row.high is None else f"{row.low:.3f} .. {row.high:.3f}"
    return [
        row.name,
        spread_text(row.new_s, row.new_std_s),
        f"{row.ratio:.3f}",
        interval,
        time_text(row.old_s),
        "-" if row.control_ratio is None else f"{row.control_ratio:.3f}",
        f"{row.p_value:.2g}",
        f"{row.verdict.value}{', past the gate' if row.is_past_gate else ''}",
    ]


def _remarks(comparison: BenchComparison) -> list[str]:
    lines = [f"{row.name}: {row.note}" for row in comparison.rows if row.note]
    if comparison.control is None:
        lines.append("control: not measured, so a change of the machine would look like one of the code")
    else:
        ratio, low, high = comparison.control
        lines.append(f"control: {ratio:.3f} (95 % {low:.3f} .. {high:.3f}), the machine itself, new over old")
    if comparison.changes:
        lines.append(f"also different: {'; '.join(comparison.changes)}")
    for which, names in (("old", comparison.only_old), ("new", comparison.only_new)):
        if names:
            lines.append(f"only in {which}: {', '.join(names)}")
    return lines
