"""Every example of the documentation runs as it stands, and every link leads somewhere."""

import json
import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from references.command_lines import assert_parses
from references.fresh_process import run_fresh

from hpt.cli.main import COMMANDS, run

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"))])
EXAMPLE = re.compile(r"<!-- example(?:: (\S+))? -->\n```python\n(.*?)```\n<!-- /example -->", re.DOTALL)


def example(page: str) -> tuple[str, str]:
    """File name and code of a page's only example."""
    ((name, code),) = EXAMPLE.findall((DOCS / page).read_text(encoding="utf-8"))
    return name or "example.py", code


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_predictor_jumps_and_learns() -> None:
    """Its proposals reach the weights, and the loss falls far below where it began."""
    _, code = example("writing_predictor.md")
    check = (
        "\nassert trainer.summary()['counters']['jumps_accepted'] > 0, trainer.summary()"
        "\nassert trainer.summary()['predictor']['name'] == 'trend'"
        "\nassert result.loss < 0.1, result.loss\n"
    )
    done = run_fresh("builtins:exec", code + check, {})
    assert done.returncode == 0, done.stderr


def test_the_estimate_says_what_is_pinned_and_what_fits() -> None:
    """Snapshot and trajectory of a million weights are five copies of them, and 16 GiB hold the batch many times."""
    _, code = example("memory.md")
    check = (
        "\nassert found.host_bytes > 5 * found.breakdown['weights'], found"
        "\nassert found.largest_batch(16 * 1024**3) > 10 * 64\n"
    )
    done = run_fresh("builtins:exec", code + check, {})
    assert done.returncode == 0, done.stderr


def test_the_workload_trains_and_gets_below_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`hpt train` takes it by its import path; the validation loss is below that of knowing nothing."""
    name, code = example("writing_workload.md")
    (tmp_path / name).write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    words = ["train", "--workload", "my_workload:factory", "--steps", "400", "--threads", "1", "--json", "--out", "out"]
    done = run_fresh("hpt.cli.main:run", words)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["status"] == "done"
    assert record["final_loss"] < 0.8 * record["workload"]["chance_loss"]


def test_the_scenario_is_listed_checked_and_measured(tmp_path: Path) -> None:
    """Through the same set-up and check that a worker process carries out."""
    name, code = example("writing_scenario.md")
    (tmp_path / name).write_text(code, encoding="utf-8")
    script = (
        "import my_scenarios; from hpt.bench.scenario import Preset\n"
        "(one,) = my_scenarios.SCENARIOS\n"
        "assert one.full_name == 'algebra/matvec'\n"
        "for preset in Preset:\n"
        "    measured = one.set_up(preset); measured.check(); assert measured.call().shape in {(64,), (256,)}\n"
    )
    done = call(tmp_path, "-c", script)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_scenario_is_timed_by_the_command(tmp_path: Path) -> None:
    """As the page says."""
    name, code = example("writing_scenario.md")
    (tmp_path / name).write_text(code, encoding="utf-8")
    done = call(tmp_path, "-m", "hpt", "bench", "my_scenarios:SCENARIOS", "--fast", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "bench.json").exists()


def commands_of(text: str) -> list[str]:
    """Lines that call hpt, without variables before and remarks behind."""
    calls = re.findall(r"^ *(?:PYTHONPATH=\. |scripts/)?(hpt [^\n]*)$", text, re.MULTILINE)
    return [re.split(r"   +|  +#", call)[0].strip() for call in calls]


def documented() -> list[str]:
    """From the fenced blocks of every page, and from the help of every command."""
    blocks = [block for page in PAGES for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)]
    helps = [entry.load().epilog for entry in entry_points(group=COMMANDS)]
    return sorted({line for text in [*blocks, *helps] for line in commands_of(text)})


@pytest.mark.parametrize("line", documented())
def test_every_documented_command_line_is_accepted(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All its words are known, and its numbers are in range; what must be there is a folder of runs."""
    (tmp_path / "runs" / "bench").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert_parses(shlex.split(line)[1:])


@pytest.mark.parametrize("line", [line for line in documented() if line.startswith("hpt report")])
def test_every_documented_report_gets_beyond_its_arguments(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder with runs, none of them a measurement: it is said that there is none (5), or a finding (3)."""
    (tmp_path / "runs" / "bench").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert run(shlex.split(line)[1:]) in {3, 5}


def test_no_page_has_python_that_is_not_tested() -> None:
    """A fenced Python block stands between the marks of an example."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert text.count("```python") == len(EXAMPLE.findall(text)), page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_local_links_lead_to_files(page: Path) -> None:
    """Nothing was renamed without its links."""
    for address in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        if not address.startswith("http"):
            assert (page.parent / address).exists(), address
