"""Command lines as click reads them, without running anything."""

import click

from hpt.cli.main import cli


def assert_parses(words: list[str]) -> None:
    """Let click read the words after `hpt` as far as it does before a command runs."""
    context, command = click.Context(cli), cli
    while isinstance(command, click.Group) and words:
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, found.make_context(name, list(words), parent=context)  # pyright: ignore[reportAssignmentType]
        words = [*context._protected_args, *context.args]
