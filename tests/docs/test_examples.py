"""Every example of the documentation runs as it stands, and every link leads somewhere."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), ROOT / "README.md"])
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


def test_the_predictor_jumps_and_learns(tmp_path: Path) -> None:
    """Its proposals reach the weights, and the loss falls far below where it began."""
    name, code = example("writing_predictor.md")
    check = (
        "\nassert trainer.summary()['counters']['jumps_accepted'] > 0, trainer.summary()"
        "\nassert trainer.summary()['predictor']['name'] == 'trend'"
        "\nassert result.loss < 0.1, result.loss\n"
    )
    (tmp_path / name).write_text("import torch; torch.set_num_threads(1)\n" + code + check, encoding="utf-8")
    done = call(tmp_path, name)
    assert done.returncode == 0, done.stderr


def test_the_workload_trains_and_gets_below_chance(tmp_path: Path) -> None:
    """`hpt train` takes it by its import path; the validation loss is below that of knowing nothing."""
    name, code = example("writing_workload.md")
    (tmp_path / name).write_text(code, encoding="utf-8")
    words = ["-m", "hpt", "train", "--workload", "my_workload:factory", "--steps", "400", "--threads", "1", "--json"]
    done = call(tmp_path, *words, "--out", "out")
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
