"""Where several processes make one run: what is wrong is told once, and all end with the same exit code."""

from collections.abc import Generator
from contextlib import contextmanager
from os import environ
from typing import TYPE_CHECKING, Any

import click

from hpt.cli.main import exit_code_of, told
from hpt.errors import EXIT_INTERRUPTED
from hpt.plugins import FAILURES
from hpt.run.alone import Alone
from hpt.run.launch import Launch, ProcessFailed

if TYPE_CHECKING:
    from hpt.run.group import Group

ENDS = (*FAILURES, KeyboardInterrupt)


class CommandOfProcesses(click.Command):
    """A command whose wrong usage the first process alone tells."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words of the command line, the same in every process."""
        try:
            return super().parse_args(ctx, args)
        except click.ClickException as error:
            if Launch.of_environment(environ).rank == 0:
                raise
            ctx.exit(error.exit_code)


@contextmanager
def one_run() -> Generator[Alone]:
    """The processes of this run, or the one that it has; a failure inside ends all, and the first one tells it.

    Raises:
        click.exceptions.Exit: another process tells the user why this one ends.
    """
    launch = Launch.of_environment(environ)
    if not launch.are_several:
        yield Alone()
        return
    from hpt.run.group import joined  # noqa: PLC0415 - imports torch, which takes seconds

    group = None
    try:
        with joined(launch) as group, _word_left(group):
            yield group
            group.wait()
    except ENDS as error:
        if group is None or group.speaks or _shows_all():
            raise
        raise click.exceptions.Exit(_code_of(error)) from error


@contextmanager
def _word_left(group: "Group") -> Generator[None]:
    """Before the connections of a process that fails break, its reason is known to the others."""
    try:
        with group.explained("start all of them again"):
            yield
    except ENDS as error:
        is_own = not (group.is_first or isinstance(error, ProcessFailed))
        place = f"process {group.launch.rank} of {group.launch.num_processes}: " if is_own else ""
        group.leave_word(place + _text_of(error), _code_of(error))
        raise


def _text_of(error: BaseException) -> str:
    return "interrupted" if isinstance(error, KeyboardInterrupt) else told(error)


def _code_of(error: BaseException) -> int:
    return EXIT_INTERRUPTED if isinstance(error, KeyboardInterrupt) else exit_code_of(error)


def _shows_all() -> bool:
    """With --debug each process shows where it failed."""
    settings: Any = click.get_current_context().obj
    return bool(settings and settings.get("debug"))
