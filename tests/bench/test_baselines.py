"""Runs kept under a name."""

from pathlib import Path

import pytest

from hpt.bench.measurement import load_baseline, load_run, read_measurements, save_baseline
from hpt.errors import UsageError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_baseline_is_the_run(finished: Path) -> None:
    """Read by name, by its file, and by the run's folder: the same measurements."""
    path = save_baseline("before", finished / "bench.json")
    whole = read_measurements(finished / "bench.json")
    assert load_baseline("before") == load_run("before") == load_run(str(path)) == load_run(str(finished)) == whole


def test_a_second_one_replaces_it(finished: Path) -> None:
    """The name then means the later run."""
    save_baseline("before", finished / "bench.json")
    save_baseline("before", finished / "scenarios" / "light.sort_1.json")
    assert list(load_baseline("before")) == ["light/sort_1"]


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b"])
def test_names_that_are_no_files_are_refused(name: str, finished: Path) -> None:
    """Nothing is written outside the baselines' folder."""
    with pytest.raises(UsageError, match="a name has"):
        save_baseline(name, finished / "bench.json")
    assert list(Path().iterdir()) == []


def test_a_missing_one_is_answered_with_those_there_are(finished: Path) -> None:
    """And with how to make it."""
    with pytest.raises(UsageError, match=r"there: none.*--save-baseline after"):
        load_run("after")
    save_baseline("before", finished / "bench.json")
    with pytest.raises(UsageError, match="there: before"):
        load_run("after")


@pytest.mark.parametrize("word", ["nowhere/at/all", "missing.json"])
def test_paths_are_not_taken_for_names(word: str) -> None:
    """A mistyped path is said to be a path that is not there."""
    with pytest.raises(UsageError, match=f"{word}: it is not there"):
        load_run(word)
