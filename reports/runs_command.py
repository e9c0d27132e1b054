"""`hpt runs`: which runs are stored, what came of them, and how to open each."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpt.cli.console import result_console
from hpt.cli.main import debug_option
from hpt.cli.tables import table
from hpt.errors import EXIT_DONE, NothingMeasured, UsageError

if TYPE_CHECKING:
    from hpt_reports.listing import StoredRun

USER_RUNS = "runs"
SCHEMA_VERSION = 1
KIB, MIB = 2**10, 2**20
HEAD = ("run", "kind", "day", "size", "verdict")
EPILOG = """\b
Examples:
  hpt runs
  hpt runs reports/evidence
  hpt runs --json
"""


@click.command(epilog=EPILOG)
@click.argument("folder", metavar="[FOLDER]", type=click.Path(path_type=Path), default=USER_RUNS)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@debug_option
def runs(*, folder: Path, as_json: bool) -> int:
    """List the stored runs below a folder, with their verdicts and the command that opens each.

    FOLDER is runs/ if none is named. The newest run comes first; for an unfinished one the command is that which
    goes on with it. Exit code 5: no run lies there.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; name the folder of your runs")
    from hpt_reports.evidence import gather  # noqa: PLC0415 - pyperf and pydantic, which --help does without
    from hpt_reports.listing import stored_runs  # noqa: PLC0415

    found = stored_runs(gather(folder))
    if as_json:
        document = {"schema_version": SCHEMA_VERSION, "folder": str(folder), "runs": [asdict(one) for one in found]}
        click.echo(json.dumps(document))
    elif found:
        _show(found)
    if not found:
        raise NothingMeasured(f"no run lies under {folder}; hpt train, bench, compare or validate-vram make one")
    return EXIT_DONE


def _show(found: Sequence["StoredRun"]) -> None:
    """A row a run, and under the table the commands: those are too long for a column, and to be copied whole."""
    console = result_console()
    rows = [(one.path, one.kind or "-", one.day or "-", _size(one.size_bytes), one.verdict) for one in found]
    console.print(table(None, HEAD, rows, width=console.width, keep=("verdict",), text=("kind", "verdict")))
    console.print("To open one, or to go on with it:")
    for command in dict.fromkeys(one.command for one in found if one.command is not None):
        console.print(f"  {command}", soft_wrap=True)


def _size(count: int) -> str:
    return f"{count / MIB:.1f} MiB" if count >= MIB else f"{count / KIB:.0f} KiB"
