"""`hpt bench`: measure scenarios, list them, compare two runs.

A word that is no command is a scenario to measure, so that `hpt bench all` needs no further verb.
"""

import json
import os
import shlex
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from hpt.bench.comparison import BenchComparison, compare
from hpt.bench.discovery import choose, find_scenarios
from hpt.bench.folder import MACHINE_FILE, BenchFolder
from hpt.bench.measurement import CONTROL, Measurement, baseline_file, load_baseline, read_measurements, save_baseline
from hpt.bench.plan import BenchSettings
from hpt.bench.scenario import Preset
from hpt.bench.session import BenchResult, carry_out
from hpt.cli.bench_compare import compare_command, conclude, show_comparison
from hpt.cli.bench_display import BenchProgress, closing_of, show_outcome
from hpt.cli.closing import show_closing
from hpt.cli.console import message_console, result_console
from hpt.cli.main import debug_option
from hpt.cli.options import QUIET, THREADS, Real, parse_percent
from hpt.errors import EXIT_DONE, EXIT_INTERRUPTED, HptError, NothingMeasured, UsageError
from hpt.machine import cpus_of, utc_now
from hpt.run.folder import locked
from hpt.run.measuring import measuring
from hpt.run.ownership import fresh_folder
from hpt.run.signals import StopRequest

RUN = "run"
EXAMPLES = """\
Examples:
  hpt bench all --fast
  hpt bench all --rigorous --preset reference --threads 1 --out runs/rollout
  hpt bench rssm_prediction weight_delta/apply --json
  hpt bench confidence/cached --affinity 1 --timeout 120
  hpt bench all --save-baseline before
  hpt bench all --baseline before --gate 5%
  hpt bench my_package.my_module:SCENARIOS"""
EPILOG = f"""\b
{EXAMPLES}
  hpt bench list --json
  hpt bench compare runs/old runs/new --gate 5%
"""


class BenchGroup(click.Group):
    """A group in which every unknown word begins the arguments of `run`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The named command with the rest of the words, or `run` with all of them."""
        if args[0] in self.commands and args[0] != RUN:
            return super().resolve_command(ctx, args)
        return "", self.commands[RUN], args  # no name, so that usage lines do not show one


@click.group(cls=BenchGroup, epilog=EPILOG, context_settings={"ignore_unknown_options": True})
@debug_option
def bench() -> None:
    """Time the trainer's parts with pyperf, and compare such runs.

    hpt bench TARGET... measures: all, a GROUP, a GROUP/SCENARIO, or package.module:NAME; its options are shown by
    hpt bench all --help. `list` and `compare` have their own.
    """


@bench.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
@debug_option
def list_scenarios(*, as_json: bool) -> int:
    """Show every scenario: name, unit of work, what it measures."""
    with redirect_stdout(sys.stderr):  # a plug-in may print as it is imported
        catalogue = find_scenarios()
    rows = [
        {"name": one.full_name, "group": one.scenario.group, "unit": one.scenario.unit, "summary": one.scenario.summary}
        for one in catalogue.scenarios
    ]
    if as_json:
        click.echo(json.dumps(rows))
    else:
        for row in rows:
            click.echo(f"{row['name']:<42} {row['unit']:<15} {row['summary']}")
    for why in catalogue.broken.values():
        click.echo(f"hpt: {why}", err=True)
    return HptError.exit_code if catalogue.broken else EXIT_DONE


@click.command(hidden=True, epilog=f"\b\n{EXAMPLES}")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("--fast", is_flag=True, help="Rough numbers of everything in two minutes: 3 processes per scenario.")
@click.option("--rigorous", is_flag=True, help="At least 100 values in 6 processes, each after 3 s of warm-up.")
@click.option(
    "--preset",
    type=click.Choice([one.value for one in Preset]),
    default=Preset.DEFAULT.value,
    show_default=True,
    help="Size of the learned model: the default, or that of the original system's benchmarks.",
)
@click.option(
    "--threads", type=THREADS, default=1, show_default=True, metavar="N", help="Number of threads of torch and BLAS."
)
@click.option("--affinity", metavar="CPUS", help="Processors that may be used, e.g. 1 or 0,2-3. [default: any]")
@click.option(
    "--out",
    metavar="FOLDER",
    help="Folder of the results; scenarios finished there are kept. [default: runs/bench-<time>]",
)
@click.option(
    "--timeout",
    "timeout_s",
    metavar="SECONDS",
    type=Real(1.0, 1e9),
    default=1800.0,
    show_default=True,
    help="Time limit of a scenario.",
)
@click.option("--save-baseline", metavar="NAME", help="Store the result in runs/baselines under this name.")
@click.option("--baseline", metavar="NAME", help="Compare the result with the stored one of this name.")
@click.option(
    "--gate", metavar="PERCENT", help="With --baseline: exit with 3 if a scenario is slower by more than this, e.g. 5%."
)
@QUIET
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@debug_option
def run_command(*, targets: tuple[str, ...], as_json: bool, quiet: bool, timeout_s: float, **flags: Any) -> int:
    """Measure all scenarios, a GROUP, a GROUP/SCENARIO, or your own package.module:NAME.

    Ctrl-C keeps what is finished; the same command with the same --out measures the rest.
    """
    gate_frac = parse_percent("--gate", flags["gate"])
    if gate_frac is not None and flags["baseline"] is None:
        raise UsageError("--gate compares with a baseline; add --baseline NAME")
    if flags["save_baseline"] is not None:
        _refuse_foreign_baseline(baseline_file(flags["save_baseline"]))
    old = None if flags["baseline"] is None else load_baseline(flags["baseline"])
    settings = _settings(flags)
    outcome, folder = _measure(targets, settings, flags["out"], timeout_s, is_quiet=quiet)
    comparison = None if old is None or not outcome.rows else _compared(old, outcome, folder, gate_frac)
    if as_json:
        compared = None if comparison is None else comparison.to_document()
        click.echo(json.dumps(outcome.to_document(folder) | {"comparison": compared}, allow_nan=False, default=str))
    else:
        console = result_console()
        if not quiet:
            _show(outcome, folder, comparison, console)
        show_closing(closing_of(outcome, folder.path, targets, settings.mode, comparison), console)
    _save(flags["save_baseline"], outcome, folder)
    return _exit_code(outcome, folder) or (EXIT_DONE if comparison is None else conclude(comparison))


def _measure(
    targets: tuple[str, ...], settings: BenchSettings, out: str | None, timeout_s: float, *, is_quiet: bool
) -> tuple[BenchResult, BenchFolder]:
    """Find the scenarios of `targets` and measure those that are not finished in the folder.

    Raises:
        NothingMeasured: there is no scenario at all.
    """
    with redirect_stdout(sys.stderr):  # a plug-in may print as it is imported
        chosen, broken = choose(find_scenarios(), targets)
    if not chosen and not broken:
        raise NothingMeasured("there are no scenarios: no plug-in announces any in hpt.scenarios; install the project")
    path = Path(out) if out is not None else fresh_folder(_default_folder())
    with locked(path, "benchmark", MACHINE_FILE):
        folder = BenchFolder(path, settings)
        progress = BenchProgress(len(chosen), message_console(quiet=is_quiet))
        with measuring(lambda line: click.echo(line, err=True)), StopRequest() as stop, progress:
            outcome = carry_out(
                chosen, broken, folder, watch=progress.watch, is_stopped=lambda: stop.is_made, timeout_s=timeout_s
            )
    return outcome, folder


def _refuse_foreign_baseline(path: Path) -> None:
    """Refuse to replace what `hpt bench` did not write.

    Raises:
        UsageError: it is something else.
    """
    if path.exists():
        read_measurements(path)


def _compared(
    old: Mapping[str, Measurement], outcome: BenchResult, folder: BenchFolder, gate_frac: float | None
) -> BenchComparison:
    """The scenarios of this call compared with the baseline; others in the folder are left out."""
    asked = {CONTROL, *(row.name for row in outcome.rows)}
    new = {name: one for name, one in read_measurements(folder.suite_file).items() if name in asked}
    return compare(old, new, gate_frac=gate_frac)


def _show(outcome: BenchResult, folder: BenchFolder, comparison: BenchComparison | None, console: Console) -> None:
    show_outcome(outcome, folder, console)
    if comparison is not None:
        show_comparison(comparison, console)


def _settings(flags: dict[str, Any]) -> BenchSettings:
    """Settings of the run.

    Raises:
        UsageError: options exclude each other, or the affinity names a processor that cannot be used.
    """
    if flags["fast"] and flags["rigorous"]:
        raise UsageError("--fast and --rigorous exclude each other; choose one")
    mode = "fast" if flags["fast"] else "rigorous" if flags["rigorous"] else "default"
    if flags["affinity"] is not None:
        _check_affinity(flags["affinity"])
    return BenchSettings(
        mode=mode, preset=Preset(flags["preset"]), threads=flags["threads"], affinity=flags["affinity"]
    )


def _check_affinity(text: str) -> None:
    usable = os.sched_getaffinity(0)
    try:
        wanted = cpus_of(text)
    except ValueError:
        wanted = set[int]()
    if not wanted or not wanted <= usable:
        known = ",".join(map(str, sorted(usable)))
        raise UsageError(
            f"--affinity is {text}; name processors as in 0,2-3, among those this process may use: {known}"
        )


def _default_folder() -> Path:
    return Path("runs") / f"bench-{utc_now().replace(':', '').replace('+0000', 'Z')}"


def _save(name: str | None, outcome: BenchResult, folder: BenchFolder) -> None:
    if name is None:
        return
    if outcome.failures or outcome.is_interrupted or not outcome.rows:
        click.echo(f"hpt: baseline {name} is not saved, because the run is not complete", err=True)
    else:
        click.echo(f"baseline saved: {save_baseline(name, folder.suite_file)}", err=True)


def _exit_code(outcome: BenchResult, folder: BenchFolder) -> int:
    for name, why in outcome.failures.items():
        click.echo(f"hpt: {name}: {why}", err=True)
    if outcome.is_interrupted:
        click.echo(f"interrupted; to continue: {shlex.join(_resume_words(folder))}", err=True)
        return EXIT_INTERRUPTED
    return HptError.exit_code if outcome.failures else EXIT_DONE


def _resume_words(folder: BenchFolder) -> list[str]:
    """This command line with its --out spelled out."""
    words = ["hpt", *sys.argv[1:]]
    has_out = any(word == "--out" or word.startswith("--out=") for word in words)
    return words if has_out else [*words, "--out", str(folder.path)]


bench.add_command(run_command, RUN)
bench.add_command(compare_command)
