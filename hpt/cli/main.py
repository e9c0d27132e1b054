"""The command `hpt`: finds the commands, runs the chosen one, turns failures into one line and an exit code.

Commands announce themselves in the entry-point group `hpt.commands`, so that scenarios, reports and other
packages can add theirs, and only the chosen one is imported. The list that `hpt --help` prints is read from
the sources without running them: the first docstring line of the function the entry point names.
"""

import ast
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import click

from hpt.cli.streams import take_streams
from hpt.errors import EXIT_DONE, EXIT_INTERRUPTED, HptError, OutOfMemory, PrerequisiteError, UsageError
from hpt.plugins import FAILURES, failures_named, one_line, plugin_place
from hpt.version import __version__

COMMANDS = "hpt.commands"
COMPLETION = "_HPT_COMPLETE"
"""Variable by which a shell asks click for the words that may follow."""
NOT_INSTALLED = (
    "no commands are registered, because this copy of hpt is not installed; "
    "run scripts/hpt, which installs it, or pip install -e ."
)
AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])


class CommandGroup(click.Group):
    """A click group whose members are entry points, imported only when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all registered commands, sorted."""
        return sorted(entry.name for entry in entry_points(group=COMMANDS))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command.

        Raises:
            PrerequisiteError: nothing is registered, because the project is not installed.
            HptError: the command's module cannot be imported.
        """
        entry = next(iter(entry_points(group=COMMANDS, name=cmd_name)), None)
        if entry is None:
            if not self.list_commands(ctx):
                raise PrerequisiteError(NOT_INSTALLED)
            return None
        with failures_named(f"command {cmd_name} ({entry.value}) cannot be loaded"):
            return entry.load()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        rows = [(entry.name, summary_of(entry)) for entry in entry_points(group=COMMANDS)]
        with formatter.section("Commands"):
            if rows:
                formatter.write_dl(sorted(rows))
            else:
                formatter.write_text(NOT_INSTALLED)


def summary_of(entry: EntryPoint) -> str:
    """First docstring line of the function that an entry point names, read from its source; '' if none."""
    try:
        spec = find_spec(entry.module)
        source = Path(spec.origin or "").read_text(encoding="utf-8") if spec else ""
    except (ImportError, OSError, ValueError):
        return "(cannot be found)"
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == entry.attr:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


def _note_debug(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
    if value:
        context.ensure_object(dict)["debug"] = True


def debug_option(command: AnyCommand) -> AnyCommand:
    """Give a command `--debug`: an error shows its traceback. Works before and after the command's name."""
    option = click.option(
        "--debug", is_flag=True, expose_value=False, callback=_note_debug, help="Show the traceback of an error."
    )
    return option(command)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hpt", message="%(prog)s %(version)s")
@debug_option
def cli() -> None:
    """Train PyTorch models with predicted steps (jumps), and measure whether they pay.

    Results go to stdout, messages and progress to stderr. Exit codes: 0 done, 1 internal error, 2 wrong usage, 3 a
    check failed or training diverged, 4 inconclusive, 5 nothing measured, 6 data, device or disk missing, 7 out of
    memory, 130 interrupted.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; messages of failures go to stderr."""
    settings = {"debug": False}
    try:
        _refuse_empty(arguments)
        outcome = cli.main(list(arguments), prog_name="hpt", standalone_mode=False, obj=settings)
        sys.stdout.flush()
    except click.Abort:
        click.echo("hpt: interrupted", err=True)
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except FAILURES as error:  # the last stop: whatever it is, one line and an exit code
        if settings["debug"]:
            traceback.print_exc()
        else:
            click.echo(f"hpt: {told(error)}", err=True)
        return exit_code_of(error)
    return outcome if isinstance(outcome, int) else EXIT_DONE


def _refuse_empty(arguments: Sequence[str]) -> None:
    """Refuse an empty value, usually a variable that is not set: it would stand for a default or for this folder.

    Raises:
        UsageError: there is one.
    """
    for before, word in pairwise(["", *arguments]):
        name, _, value = word.partition("=")
        if not word.strip() or (word.startswith("--") and "=" in word and not value.strip()):
            flag = name if word.strip() else before
            raise UsageError(f"the value after {flag or 'hpt'} is empty; give one, or leave {flag or 'it'} out")


def exit_code_of(error: BaseException) -> int:
    """The exit code of a failure: its branch of the error tree, 7 for Python's own MemoryError, else 1."""
    if isinstance(error, HptError):
        return error.exit_code
    return OutOfMemory.exit_code if isinstance(error, MemoryError) else HptError.exit_code


def told(error: BaseException) -> str:
    """The line that says what went wrong, and whether in the tool or in the user's own code."""
    if isinstance(error, HptError):
        return one_line(error)
    whose = "internal error" if plugin_place(error) is None else "a plug-in failed"
    return f"{whose}, {one_line(error)} (--debug shows where)"


def main() -> None:
    """Entry point of the `hpt` script."""
    take_streams()
    if COMPLETION in os.environ:
        cli.main(prog_name="hpt")  # answers the shell and ends the process
    code = run(sys.argv[1:])
    sys.stdout = sys.stderr  # what a plug-in prints as it is taken apart is no result
    sys.exit(code)
