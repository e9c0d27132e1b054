"""`hpt report`: the phase reports, written from stored runs; with `--check`, held against those that are there."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpt.cli.main import debug_option
from hpt.errors import EXIT_DONE, InconclusiveError, NothingMeasured, UsageError
from hpt.jsonfiles import disk_errors
from hpt.run.ownership import MANIFEST, claim

if TYPE_CHECKING:
    from hpt_reports.builder import Reports

CHECKOUT_RUNS, CHECKOUT_OUT = Path("reports/evidence"), Path("reports/generated")
USER_RUNS, USER_OUT = Path("runs"), Path("out/reports")
REPORTS = ("phase1", "phase2", "phase3", "vram", "evaluation", "survival", "readme", "all")
SCHEMA_VERSION = 1
EXIT_FINDING = 3
MOST_SHOWN = 30
EPILOG = """\b
Examples:
  hpt report all --runs runs --out out/reports      everything from your own runs
  hpt report phase2 --runs runs/bench --format md
  hpt report all --check                            do the committed reports say what the evidence gives?
  hpt report all --strict                           exit 4 if an input was left out
"""


@click.command(epilog=EPILOG)
@click.argument("name", metavar="[REPORT]", type=click.Choice(REPORTS), default="all")
@click.option(
    "--runs",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help=f"Folder of stored runs. [default: {CHECKOUT_RUNS} in a checkout, else {USER_RUNS}]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Where the reports go. [default: {CHECKOUT_OUT} for the checkout's evidence, else {USER_OUT}]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["md", "html"]),
    help="Write only Markdown, or only the HTML page. [default: both]",
)
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing; exit with 3 if a report differs from its runs, or a number has no run.",
)
@click.option(
    "--fresh",
    is_flag=True,
    help="With --check: fail, not warn, where a run is of other source code and could be measured here again.",
)
@click.option("--strict", is_flag=True, help="Exit with 4 if a file was skipped or is incomplete.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout: files, inputs, findings.")
@debug_option
def report(  # noqa: PLR0913 - one argument a flag
    *,
    name: str,
    runs: Path | None,
    out: Path | None,
    form: str | None,
    check: bool,
    fresh: bool,
    strict: bool,
    as_json: bool,
) -> int:
    """Write the reports from stored runs, or check that they are up to date.

    Where no run is stored, a report says "not measured" and names the command that measures it. Files that are
    damaged, unfinished, of a newer version or not of hpt are named on stderr.
    """
    runs, out = _places(runs, out)
    if not check:
        claim(out, "report", MANIFEST)
    from hpt_reports.builder import build, checkout_of  # noqa: PLC0415 - pandas, matplotlib, which --help does without
    from hpt_reports.writing import write  # noqa: PLC0415

    if name != "all" and form == "html":
        raise UsageError("--format html is the page of all reports; use it with `hpt report all`")
    if form == "html" and checkout_of(runs, out) is not None:
        raise UsageError(f"--format html is not kept in {out}; name another folder with --out")
    built = build(runs, out, name)
    for remark in built.evidence.remarks:
        click.echo(f"warning: {remark}", err=True)
    problems: list[str] = []
    written: list[str] = []
    if check:
        problems = _problems(built, out, name, fresh=fresh)
    else:
        with disk_errors(out):
            written = write(built, out, form=form)
    if as_json:
        _print_json(runs, out, written, problems, built)
    else:
        _say(written, problems, out, check=check, count=len(built.files))
    if problems:
        return EXIT_FINDING
    if strict and built.evidence.remarks:
        raise InconclusiveError(
            f"{len(built.evidence.remarks)} inputs were left out or are incomplete; repair or remove them"
        )
    if not built.evidence.sources and not check:
        raise NothingMeasured(
            f"no measurement lies under {runs}; the reports say so, and name the commands that measure"
        )
    return EXIT_DONE


def _places(runs: Path | None, out: Path | None) -> tuple[Path, Path]:
    """Defaults for the folders.

    Raises:
        UsageError: no folder was named and neither default exists.
    """
    if runs is None:
        runs = CHECKOUT_RUNS if CHECKOUT_RUNS.is_dir() else USER_RUNS
        if not runs.is_dir():
            raise UsageError(f"there is no folder {runs} here; name the folder of your runs with --runs")
    if out is None:
        out = CHECKOUT_OUT if runs == CHECKOUT_RUNS else USER_OUT
    return runs, out


def _problems(built: "Reports", out: Path, name: str, *, fresh: bool) -> list[str]:
    from hpt_reports.age import aged  # noqa: PLC0415
    from hpt_reports.check import findings  # noqa: PLC0415

    problems = list(findings(built, out, only=name))
    for one in aged(built.evidence):
        if fresh and not one.is_excused:
            problems.append(str(one))
        else:
            click.echo(f"warning: {one}", err=True)
    return problems


def _say(written: list[str], problems: list[str], out: Path, *, check: bool, count: int) -> None:
    for problem in problems[:MOST_SHOWN]:
        click.echo(problem, err=True)
    if len(problems) > MOST_SHOWN:
        click.echo(f"... and {len(problems) - MOST_SHOWN} more (--json has them all)", err=True)
    if not check:
        click.echo("\n".join(written))
    elif problems:
        click.echo(f"{len(problems)} findings; `hpt report all` writes what the evidence gives", err=True)
    else:
        click.echo(f"{count} files in {out} are what the evidence gives", err=True)


def _print_json(runs: Path, out: Path, written: list[str], problems: list[str], built: "Reports") -> None:
    document = {
        "schema_version": SCHEMA_VERSION,
        "runs": str(runs),
        "out": str(out),
        "written": written,
        "inputs": [{"label": one.label, "kind": one.kind.name, "path": one.path} for one in built.evidence.sources],
        "left_out": [{"path": one.path, "word": one.word, "reason": one.reason} for one in built.evidence.remarks],
        "findings": problems,
    }
    click.echo(json.dumps(document))
