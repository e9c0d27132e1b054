"""The command line finds commands without importing them, and a failure is one line and an exit code."""

import os
import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import click
import pytest

import hpt.cli.main
from hpt import errors
from hpt.cli.main import COMMANDS, run, summary_of

PLANTED = '''
"""A command that fails as it is told."""
import click
from hpt import errors
from hpt.cli.main import debug_option


@click.command()
@click.argument("name")
@debug_option
def planted(name):
    """Fail with the named error.

    More about it.
    """
    if name == "none":
        return
    kind = getattr(errors, name, None) or getattr(__import__("builtins"), name)
    raise kind("one thing\\nwent wrong")
'''
SLOW = ("torch", "numpy", "pandas", "matplotlib", "scipy", "transformers", "pydantic", "pyperf", "hpt.cli.train")
EXIT_CODES = {  # the table of the manual, written out
    "none": 0,
    "HptError": 1,
    "CheckpointError": 1,
    "ValueError": 1,
    "UsageError": 2,
    "ConfigError": 2,
    "ModelError": 2,
    "TrainingDiverged": 3,
    "InconclusiveError": 4,
    "NothingMeasured": 5,
    "PrerequisiteError": 6,
    "DataError": 6,
    "DeviceError": 6,
    "DiskError": 6,
    "OutOfMemory": 7,
    "MemoryError": 7,
    "KeyboardInterrupt": 130,
}


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EntryPoint:
    """One registered command, in a module of its own."""
    (tmp_path / "planted_command.py").write_text(PLANTED)
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("planted", "planted_command:planted", COMMANDS)
    register(monkeypatch, entry)
    return entry


def register(monkeypatch: pytest.MonkeyPatch, *registered: EntryPoint) -> None:
    def found(group: str, name: str | None = None) -> list[EntryPoint]:
        return [entry for entry in registered if name in (None, entry.name)]

    monkeypatch.setattr(hpt.cli.main, "entry_points", found)


@pytest.mark.parametrize("code", ["import hpt", "from hpt.cli.main import run; run(['--help'])"])
def test_what_everybody_loads_first_loads_no_large_library(code: str) -> None:
    """`import hpt` and `hpt --help` are quick: no library that takes long to import, and no command's module."""
    script = f"{code}\nimport sys\nprint(sorted(set({SLOW!r}) & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "[]\n")


def test_help_lists_every_command() -> None:
    """By the first line of its own help."""
    done = subprocess.run([sys.executable, "-m", "hpt", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    for entry in entry_points(group=COMMANDS):
        assert f"\n  {entry.name} " in done.stdout


def test_the_module_runs_as_the_script_does() -> None:
    """`python -m hpt` is `hpt`."""
    done = subprocess.run([sys.executable, "-m", "hpt", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"hpt {hpt.__version__}\n")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("hpt va", "validate-vram"), ("hpt train --pred", "--predictor"), ("hpt bench all --rig", "--rigorous")],
)
def test_a_shell_is_told_what_may_follow(typed: str, expected: str) -> None:
    """Commands and options, one a line, and nothing on stderr."""
    asked = {"_HPT_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    words = [sys.executable, "-m", "hpt"]
    done = subprocess.run(words, env={**os.environ, **asked}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"plain,{expected}\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_of_a_shell_is_a_script(shell: str) -> None:
    """The documented line evaluates what is printed."""
    asked = {"_HPT_COMPLETE": f"{shell}_source"}
    words = [sys.executable, "-m", "hpt"]
    done = subprocess.run(words, env={**os.environ, **asked}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_hpt_completion" in done.stdout


@pytest.mark.parametrize("entry", entry_points(group=COMMANDS), ids=lambda entry: entry.name)
def test_the_summary_read_from_the_source_is_the_one_click_would_show(entry: EntryPoint) -> None:
    """Reading without importing finds the same line as importing."""
    command = entry.load()
    assert isinstance(command, click.Command)
    assert summary_of(entry) == (command.help or "").partition("\n")[0] != ""


def test_summaries_of_commands_that_are_not_there() -> None:
    """A broken registration shows in the list instead of breaking it."""
    assert summary_of(EntryPoint("gone", "no_such_package.module:main", COMMANDS)) == "(cannot be found)"
    assert summary_of(EntryPoint("odd", "hpt.errors:no_such_function", COMMANDS)) == ""


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize(("name", "code"), EXIT_CODES.items())
def test_every_failure_is_one_line_and_its_exit_code(capsys: pytest.CaptureFixture[str], name: str, code: int) -> None:
    """Nothing on stdout, no traceback, one line on stderr that holds the whole message."""
    assert run(["planted", name]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    lines = err.splitlines()
    if name == "KeyboardInterrupt":
        assert lines[-1] == "hpt: interrupted"
    elif code:
        assert len(lines) == 1
        assert "one thing went wrong" in lines[0]


def test_every_branch_of_the_error_tree_is_in_the_table() -> None:
    """A new error needs an exit code and a row."""
    known = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert known <= set(EXIT_CODES)


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("arguments", [["--debug", "planted"], ["planted", "--debug"]])
def test_debug_shows_the_traceback_on_either_side(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """The exit code stays that of the failure."""
    assert run([*arguments, "DataError"]) == 6
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("arguments", [["no-such-command"], ["planted"], ["--no-such-option"]])
def test_a_wrong_call_is_a_usage_error(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Unknown command, missing argument, unknown option: 2, explained on stderr."""
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Usage" in err


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["train", "--out", ""], "--out"),
        (["train", "--data="], "--data"),
        (["train", "--resume", " "], "--resume"),
        (["train", "--resume="], "--resume"),
        (["compare", "--workloads", "mlp", "--tuning-cache", ""], "--tuning-cache"),
        (["bench", "all", "--out", "\t"], "--out"),
        (["report", "all", "--out="], "--out"),
        (["planted", ""], "planted"),
        ([""], "hpt"),
    ],
)
def test_an_empty_value_is_refused_by_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], flag: str
) -> None:
    """It would mean the working directory, or a default that nobody asked for; nothing is written there."""
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    assert f"the value after {flag} is empty" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_uninstalled_checkout_says_what_to_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without entry points there are no commands; help and any command name the remedy."""
    register(monkeypatch)
    assert run(["train"]) == 6
    assert "scripts/hpt" in capsys.readouterr().err
    assert run(["--help"]) == 0
    assert "scripts/hpt" in capsys.readouterr().out


def test_a_command_that_cannot_be_imported_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken plug-in is an internal error of that command, and says which."""
    register(monkeypatch, EntryPoint("broken", "no_such_package:main", COMMANDS))
    assert run(["broken"]) == 1
    assert "broken (no_such_package:main) cannot be loaded" in capsys.readouterr().err
