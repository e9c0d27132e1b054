"""Plug-ins are found where the user works, stand in for nobody, and are named with file and line when they fail."""

import sys
from pathlib import Path

import pytest
from references.fresh_process import run_fresh

from hpt.errors import DataError, HptError
from hpt.plugins import FAILURES, described, failures_named, load_plugin, one_line, plugin_place

CODE = """
import sys

def leaves(): sys.exit(0)
def leaves_silently(): sys.exit()
def parses(): __import__("argparse").ArgumentParser().parse_args(["--nonsense"])
def stumbles(): raise ValueError("in [0, 1)\\nor [red]not[/]")
def deep(): return sorted([3, "a"], key=lambda one: one + 1)

class Holder:
    part = staticmethod(lambda: 7)
"""
LINES = {"leaves": 4, "leaves_silently": 5, "parses": 6, "stumbles": 7, "deep": 8}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a module, which is not on the path."""
    (tmp_path / "odd_plugin.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "odd_plugin", raising=False)
    return tmp_path


@pytest.mark.usefixtures("here")
def test_a_module_in_the_working_directory_is_found_and_dots_are_followed() -> None:
    assert load_plugin("odd_plugin:Holder.part")() == 7


def test_a_file_in_the_working_directory_stands_in_for_no_installed_module(here: Path) -> None:
    """The directory comes last, also once it was needed."""
    (here / "decimal.py").write_text("raise RuntimeError('the wrong one')")
    load_plugin("odd_plugin:leaves")
    assert load_plugin("decimal:Decimal").__module__ == "decimal"
    assert sys.path[-1] == str(here)


@pytest.mark.usefixtures("here")
def test_a_missing_module_says_what_to_do() -> None:
    """Its own absence names the remedy; that of something it imports is that package's business."""
    with pytest.raises(HptError, match=r"No module named 'no_such_one'; .*PYTHONPATH"), failures_named("x"):
        load_plugin("no_such_one.part:thing")
    Path("importing.py").write_text("import no_such_other")
    with pytest.raises(HptError, match=r"No module named 'no_such_other', in .*importing.py, line 1, "):  # noqa: SIM117
        with failures_named("x"):
            load_plugin("importing:thing")


@pytest.mark.parametrize("name", LINES)
def test_every_failure_names_file_and_line(here: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """sys.exit, with and without a status, from a library, too; exceptions, also through calls of built-ins."""
    with pytest.raises(HptError) as caught, failures_named("workload odd_plugin cannot be made"):
        load_plugin(f"odd_plugin:{name}")()
    said = str(caught.value)
    assert said.startswith("workload odd_plugin cannot be made (")
    assert f"{here}/odd_plugin.py, line {LINES[name]}, odd_plugin." in said
    assert "\n" not in said
    assert caught.value.exit_code == 1
    capfd.readouterr()


@pytest.mark.usefixtures("here")
def test_errors_of_ours_pass_and_are_blamed_on_no_plugin() -> None:
    load_plugin("odd_plugin:leaves")
    with pytest.raises(DataError, match=r"^none here$"), failures_named("x"):
        raise DataError("none here")
    with pytest.raises(FAILURES) as caught:
        int("x")
    assert plugin_place(caught.value) is None
    assert described(caught.value) == one_line(caught.value)
    assert described(caught.value) == "ValueError: invalid literal for int() with base 10: 'x'"


@pytest.mark.parametrize("ending", ["sys.exit(0)", "sys.exit('done')", "raise SystemExit", "raise ValueError('[x]')"])
def test_a_workload_that_leaves_in_the_middle_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """At its fifth loss: exit code 1 with plug-in, file and line, and the run's record says failed."""
    (tmp_path / "own.py").write_text(
        "import sys\nfrom hpt.workloads.regression import Regression\n"
        "class Own(Regression):\n    n = 0\n    def loss(self, model, batch):\n        self.n += 1\n"
        f"        if self.n == 5: {ending}\n"
        "        return super().loss(model, batch)\n"
        "def make(*, seed, data, device):\n    return Own(seed=seed, device=device)\n"
    )
    monkeypatch.chdir(tmp_path)
    words = ["train", "--workload", "own:make", "--steps", "20", "--threads", "1", "--out", "o"]
    done = run_fresh("hpt.cli.main:run", words)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert f"a plug-in failed, {'ValueError: [x]' if '[x]' in ending else 'it called sys.exit'}" in done.stderr
    assert f"{tmp_path}/own.py, line 7, own.loss" in done.stderr
    assert '"status": "failed"' in (tmp_path / "o" / "run.json").read_text()
