"""Scenarios are found by entry point and by path, and one bad plug-in spoils nothing."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

import hpt.bench.discovery
from hpt.bench.discovery import SCENARIOS, choose, find_scenarios, load_source
from hpt.errors import HptError, UsageError

TABLE = {  # the table of the manual, written out
    "rssm_prediction": {f"horizon_{horizon}" for horizon in (1, 5, 10, 15, 25, 50, 75)},
    "state_encoding": {"compute_features"},
    "weight_delta": {"clone", "scale", "apply"},
    "rssm_training": {"observe_gradient"},
    "confidence": {"cached", "uncached"},
    "state_history": {"record_step", "record_step_full_history"},
}


def register(monkeypatch: pytest.MonkeyPatch, **sources: str) -> None:
    entries = [EntryPoint(name, source, SCENARIOS) for name, source in sources.items()]
    monkeypatch.setattr(hpt.bench.discovery, "entry_points", lambda group: entries)


def test_there_are_six_groups_and_sixteen_scenarios() -> None:
    """Exactly these, each with a unit and a summary of one line."""
    catalogue = find_scenarios()
    assert catalogue.broken == {}
    found: dict[str, set[str]] = {}
    for one in catalogue.scenarios:
        found.setdefault(one.scenario.group, set()).add(one.scenario.name)
        assert one.scenario.unit
        assert one.scenario.summary.endswith(".")
        assert "\n" not in one.scenario.summary
    assert found == TABLE
    assert len(catalogue.scenarios) == 16


def test_listing_them_imports_no_torch() -> None:
    """A manager process lists the scenarios of its plug-in; torch would cost seconds each time."""
    script = "import sys; from hpt.bench.discovery import find_scenarios; n = len(find_scenarios().scenarios); "
    done = subprocess.run([sys.executable, "-c", script + "sys.exit(n != 16 or 'torch' in sys.modules)"], check=False)
    assert done.returncode == 0


def test_words_choose_all_a_group_or_one() -> None:
    """Each scenario once, in the order of the words."""
    catalogue = find_scenarios()
    names = lambda *words: [one.full_name for one in choose(catalogue, words)[0]]  # noqa: E731
    assert len(names("all")) == len(names("all", "confidence")) == 16
    assert names("confidence") == ["confidence/cached", "confidence/uncached"]
    assert names("weight_delta/apply", "confidence/cached") == ["weight_delta/apply", "confidence/cached"]


@pytest.mark.parametrize(
    ("word", "near"),
    [("rssm_predict", "rssm_prediction"), ("confidence/cahced", "confidence/cached"), ("apply", "weight_delta/apply")],
)
def test_an_unknown_word_is_answered_with_near_ones(word: str, near: str) -> None:
    """Exit code 2, and what was probably meant."""
    with pytest.raises(UsageError, match=near):
        choose(find_scenarios(), [word])


def test_a_path_names_scenarios_of_ones_own() -> None:
    """A single one, or a sequence."""
    assert [one.name for one in load_source("references.light_scenarios:SORT")] == ["sort_1"]
    chosen, broken = choose(find_scenarios(), ["references.light_scenarios:SCENARIOS"])
    assert [one.full_name for one in chosen] == ["light/sort_1", "light/sort_2", "light/sort_4"]
    assert not broken


@pytest.mark.parametrize("source", ["nowhere:X", "references.light_scenarios:NOTHING", "references.light_scenarios:"])
def test_what_cannot_be_imported_is_said(source: str) -> None:
    """One line, naming the source."""
    with pytest.raises(HptError, match=f"{source} cannot be loaded"):
        load_source(source)


@pytest.mark.parametrize("name", ["NOT_ONE", "MIXED", "BAD_NAME", "fine"])
def test_what_is_no_scenario_is_refused(name: str) -> None:
    """Other objects, and names that could leave the folder."""
    with pytest.raises(HptError, match=r"must be|use letters"):
        load_source(f"references.light_scenarios:{name}")


def test_a_broken_plug_in_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named with its reason; asked for alone, it is the only thing to report."""
    register(monkeypatch, bad="references.light_scenarios:NOTHING", good="references.light_scenarios:SCENARIOS")
    catalogue = find_scenarios()
    assert len(catalogue.scenarios) == 3
    assert set(catalogue.broken) == {"bad"}
    chosen, broken = choose(catalogue, ["all"])
    assert (len(chosen), set(broken)) == (3, {"bad"})
    assert choose(catalogue, ["bad"])[0] == ()
    assert set(choose(catalogue, ["nowhere:X", "light"])[1]) == {"nowhere:X"}


def test_a_name_taken_twice_is_a_broken_plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first keeps it."""
    register(monkeypatch, a="references.light_scenarios:SCENARIOS", b="references.light_scenarios:SORT")
    catalogue = find_scenarios()
    assert len(catalogue.scenarios) == 3
    assert "already in references.light_scenarios:SCENARIOS" in catalogue.broken["references.light_scenarios:SORT"]
