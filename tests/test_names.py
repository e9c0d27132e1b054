"""Modules of a user shadow nothing of ours, although PYTHONPATH=. puts them first."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOAD = """
import json, pkgutil, sys
from importlib import import_module
from importlib.metadata import EntryPoint
for name, value, group in json.loads(sys.argv[1]):
    EntryPoint(name, value, group).load()
for package in map(import_module, ("hpt_reports", "hpt_scenarios")):
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        import_module(found.name)
print(sorted({one.partition(".")[0] for one in sys.modules} & {"reports", "scenarios"}))
"""


def entry_points() -> list[tuple[str, str, str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"scripts": project["scripts"], **project["entry-points"]}
    return [(name, value, group) for group, found in groups.items() for name, value in found.items()]


@pytest.mark.parametrize("as_package", [False, True])
def test_commands_and_scenarios_load_beside_a_users_modules_of_our_folders_names(
    tmp_path: Path, *, as_package: bool
) -> None:
    """Whoever imports `reports` or `scenarios` gets the user's; no module of ours does, so none is imported here."""
    for name in ("reports", "scenarios"):
        file = tmp_path / name / "__init__.py" if as_package else tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text('raise ImportError("the module of the user")')
    done = subprocess.run(
        [sys.executable, "-c", LOAD, json.dumps(entry_points())],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((".", str(ROOT)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", ["reports", "scenarios"])
def test_the_installed_name_leads_to_the_folder(name: str) -> None:
    """One set of files under two names: the folder's, and the one that is imported."""
    assert (ROOT / f"hpt_{name}").samefile(ROOT / name)
