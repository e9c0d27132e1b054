"""`hpt bench`: measure scenarios, list them, compare two runs.

A word that is no command is a scenario to measure, so that `hpt bench all` needs no further verb.
"""

import json

import click

from hpt.bench.discovery import find_scenarios
from hpt.cli.bench_compare import compare_command
from hpt.cli.bench_run import EXAMPLES, run_command
from hpt.cli.main import debug_option
from hpt.errors import EXIT_DONE, HptError

RUN = "run"
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


bench.add_command(run_command, RUN)
bench.add_command(compare_command)
