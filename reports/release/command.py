"""`hpt release-check`: runs what must pass before a release and stores the outcome as evidence."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from hpt.cli.main import debug_option
from hpt.cli.options import Real
from hpt.errors import EXIT_DONE, EXIT_INTERRUPTED, PrerequisiteError, UsageError
from hpt.jsonfiles import disk_errors, write_json
from hpt.machine import describe_machine, utc_now
from hpt.run.ownership import check_writable, refuse_foreign
from hpt_reports.release.steps import FAILED, PASSED, Step, StepOutcome, left_out, run_all, steps_of

SCHEMA_VERSION = 1
EXIT_FINDING = 3
DEFAULT_OUT = Path("reports/evidence/release_check.json")
# What is finished lies here until all is: a new record among the evidence would put the committed reports out of date
# while the last step checks them.
UNFINISHED = Path("release_check.json")
DEFAULT_WORK = Path("out/release")
LIMIT_MINUTES = 30.0
EPILOG = """\b
Examples:
  hpt release-check                                 everything, at most thirty minutes on two cores
  hpt release-check --steps changelog,evidence --out out/release_check.json
  hpt release-check --list
"""


@click.command(epilog=EPILOG)
@click.option("--steps", metavar="LIST", help="Comma-separated names of steps. [default: all]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_OUT,
    show_default=True,
    help="File of the outcome.",
)
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_WORK,
    show_default=True,
    help="Folder for wheel, environment and runs; it should not exist.",
)
@click.option(
    "--limit",
    "limit_minutes",
    type=Real(0.0, 1e6, min_open=True),
    default=LIMIT_MINUTES,
    show_default=True,
    metavar="MINUTES",
    help="Time limit of all steps together.",
)
@click.option("--list", "only_list", is_flag=True, help="Print the steps and their commands, and run nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the record, and nothing else, on stdout.")
@debug_option
def release_check(
    *, steps: str | None, out: Path, work: Path, limit_minutes: float, only_list: bool, as_json: bool
) -> int:
    """Run what must pass before a release, and store the outcome for the release report.

    The steps: scripts/check, an install of the wheel into a fresh environment, measurements with it, and checks that
    benchmarks, change log and stored measurements belong to this version. Exit code 3: a step failed. Ctrl-C keeps
    what is finished.
    """
    root = Path.cwd()
    every = steps_of(root, root / work)
    if only_list:
        click.echo("\n".join(f"{step.name:12} {' '.join(step.command)}".replace(f"{root}/", "") for step in every))
        return EXIT_DONE
    chosen = _chosen(steps, every)
    if (root / work).exists() and any((root / work).iterdir()):
        raise UsageError(f"--work is {work}, which is not empty; delete it or choose another folder")
    refuse_foreign(root / out, "release-check")
    check_writable((root / out).parent)
    with disk_errors(work):
        (root / work / "runs").mkdir(parents=True, exist_ok=True)
    started_at, done, is_interrupted = utc_now(), list[StepOutcome](), False
    try:
        for result in run_all(every, root, chosen=chosen, limit_s=60.0 * limit_minutes, watch=_tell):
            done.append(result)
            write_json(root / work / UNFINISHED, _record(started_at, done))
    except KeyboardInterrupt:
        is_interrupted = True
        done += [left_out(step, root, "interrupted") for step in every[len(done) :]]
    record = _record(started_at, done)
    write_json(root / out, record)
    word = "passed" if record["passed"] else "not passed"
    click.echo(json.dumps(record) if as_json else f"{out}: {word}; `hpt report all` brings the reports up to date")
    if is_interrupted:
        return EXIT_INTERRUPTED
    return EXIT_FINDING if any(one.status == FAILED for one in done) else EXIT_DONE


def _chosen(steps: str | None, every: list[Step]) -> frozenset[str]:
    known = [step.name for step in every]
    names = known if steps is None else [one.strip() for one in steps.split(",") if one.strip()]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"--steps names {unknown[0]!r}, which is no step; known are {', '.join(known)}")
    if not names:
        raise PrerequisiteError("--steps names no step; leave it out for all")
    return frozenset(names)


def _record(started_at: str, done: list[StepOutcome]) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "release-check",
        "started_at": started_at,
        "finished_at": utc_now(),
        "machine": describe_machine(device="cpu", threads=0) | {"threads": None},
        "passed": all(one.status == PASSED for one in done),
        "steps": [asdict(one) for one in done],
    }


def _tell(event: StepOutcome | Step) -> None:
    if isinstance(event, Step):
        click.echo(f"{event.what} ...", err=True)
        return
    took = "" if event.duration_s is None else f" after {event.duration_s:.1f} s"
    why = "" if event.reason is None else f" ({event.reason})"
    click.echo(f"{event.what}: {event.status}{took}{why}", err=True)
    for line in event.last_words or []:
        click.echo(f"    {line}", err=True)
