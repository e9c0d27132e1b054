"""Rules of the house that no tool checks: short files, commands that load, pins that agree."""

import re
import subprocess
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
MAX_LINES = 400
FOLDERS = ("hpt", "scenarios", "reports", "scripts", "tests")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    rows = (re.fullmatch(r"([A-Za-z0-9_.-]+)==(\S+)", line) for line in lines if not line.startswith("#"))
    return {canonicalize_name(row[1]): row[2] for row in rows if row is not None}


def test_no_file_is_longer_than_it_can_be_read() -> None:
    """A file over 400 lines does more than one job."""
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 20
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {name: lines for name, lines in long.items() if lines > MAX_LINES} == {}


@pytest.mark.parametrize("group", ["hpt.commands"])
def test_every_registered_command_loads(group: str) -> None:
    """What pyproject.toml promises is installed and is a command with a summary."""
    installed = {entry.name: entry for entry in entry_points(group=group)}
    assert set(PROJECT["entry-points"][group]) <= set(installed)
    for entry in installed.values():
        command = entry.load()
        assert isinstance(command, click.Command)
        assert command.help


def test_every_direct_requirement_is_pinned_within_its_bounds() -> None:
    """constraints.txt and pyproject.toml agree, so an install from both is the one that was tested."""
    extras = [one for group in PROJECT["optional-dependencies"].values() for one in group]
    known = pins()
    assert known["torch"] == "2.13.0"
    for text in [*PROJECT["dependencies"], *extras, "hatchling>=1.25"]:
        need = Requirement(text)
        if need.name == PROJECT["name"]:
            continue  # an extra made of others, whose requirements are here themselves
        assert need.specifier.contains(known[canonicalize_name(need.name)]), text


def test_the_hooks_before_a_commit_use_the_ruff_of_the_check() -> None:
    """Another version would format otherwise, and the check would refuse what the hook has made."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"\[ruff==(.+)\]", hooks) == [pins()["ruff"]] * 2


@pytest.mark.parametrize(
    "script",
    ["scripts/hpt", "scripts/check", "scripts/docs", "scripts/environment.sh", "scripts/validate_vram.sh", ".ci/run"],
)
def test_scripts_parse_and_name_no_place_of_this_machine(script: str) -> None:
    """They run anywhere: valid bash, no package index, no absolute path but the interpreter's."""
    path = ROOT / script
    subprocess.run(["bash", "-n", str(path)], check=True)
    text = path.read_text()
    assert "index-url" not in text
    assert "http" not in text
    assert not re.search(r"(?<![\w.$}\"/])/(home|opt|root|work|tmp)\b", text)
