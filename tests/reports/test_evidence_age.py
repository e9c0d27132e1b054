"""Which evidence was measured on other sources than those that are here."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hpt.machine import code_version, source_digests
from hpt_reports.age import aged
from hpt_reports.evidence import gather
from hpt_reports.kinds import KINDS, TRAINING

PROOF = Path(__file__).parent / "data" / "same_results.json"


def with_environment(runs: Path, **changes: Any) -> Path:
    """The stored training run alone, its environment changed."""
    folder = runs.parent / "alone"
    folder.mkdir()
    document = json.loads((runs / "train" / "run.json").read_text())
    document["environment"].update(changes)
    (folder / "run.json").write_text(json.dumps(document))
    return folder


def test_a_run_of_these_sources_is_fresh(runs: Path) -> None:
    """Every digest agrees."""
    assert list(aged(gather(with_environment(runs, sources=source_digests())))) == []


@pytest.mark.parametrize(
    ("part", "is_old"),
    [("trainer", True), ("predictors", True), ("learned/prior.json", True), ("cli", False), ("bench", False)],
)
def test_only_the_parts_that_were_measured_count(runs: Path, part: str, is_old: bool) -> None:
    """Another help text makes no training run old; another trainer does."""
    digests = source_digests() | {part: "0" * 16}
    found = list(aged(gather(with_environment(runs, sources=digests))))
    assert [part in str(one) for one in found] == [True] * is_old
    assert part in TRAINING.parts or not is_old


def test_a_run_that_stored_no_digest_of_a_data_file_is_not_judged_by_it(runs: Path) -> None:
    """As those of before there were such digests; a room of the code that it knows nothing of makes it old."""
    digests = source_digests()
    without = {name: digest for name, digest in digests.items() if name != "learned/prior.json"}
    assert list(aged(gather(with_environment(runs, sources=without)))) == []
    file = runs.parent / "alone" / "run.json"
    document = json.loads(file.read_text())
    del document["environment"]["sources"]["trainer"]
    file.write_text(json.dumps(document))
    assert ["trainer" in str(one) for one in aged(gather(file.parent))] == [True]


@pytest.mark.parametrize(
    "changes",
    [
        {"commit": None, "is_dirty": None},
        {"commit": "0" * 40, "is_dirty": False},
        {"commit": code_version()[0], "is_dirty": True},
    ],
)
def test_without_digests_a_commit_must_be_known_and_clean(runs: Path, changes: dict[str, Any]) -> None:
    """No commit, one that git does not know, or a changed tree: it cannot be told."""
    (found,) = aged(gather(with_environment(runs, sources=None, **changes)))
    assert not found.is_known
    assert "cannot be told" in str(found)


@pytest.mark.parametrize(
    ("device", "has", "needs"), [("cuda", False, True), ("cuda:1", True, False), ("cpu", False, False)]
)
def test_only_a_machine_with_a_gpu_can_measure_again_what_was_made_on_one(
    runs: Path, monkeypatch: pytest.MonkeyPatch, device: str, has: bool, needs: bool
) -> None:
    """With `--fresh` a run of a GPU is no finding where there is none."""
    monkeypatch.setattr("hpt_reports.age.has_gpu", lambda: has)
    folder = with_environment(runs, device=device, sources=source_digests() | {"trainer": "0" * 16})
    (found,) = aged(gather(folder))
    assert found.needs_gpu is needs
    assert ("which this machine has not" in str(found)) is needs


def test_every_part_that_counts_is_a_part_of_the_package() -> None:
    """A room that was renamed would make all evidence old, or none."""
    assert {part for kind in KINDS for part in kind.parts} <= set(source_digests())


def with_proof(runs: Path, kind: str, **changes: Any) -> Path:
    """A stored run of other sources, and a comparison of results with those and the present ones."""
    folder = runs.parent / "two"
    shutil.copytree(runs / kind, folder / kind)
    file = next(one for one in (folder / kind).glob("*.json") if one.name in {"run.json", "summary.json"})
    document = json.loads(file.read_text())
    then = source_digests() | {"jump": "0" * 16}
    document["machine" if "machine" in document else "environment"]["sources"] = then
    file.write_text(json.dumps(document))
    proof = json.loads(PROOF.read_text())
    proof["earlier"] = [{"commit": "0" * 40, "sources": then | changes.get("then", {}), "differing": []}]
    proof["earlier"][0]["differing"] = changes.get("differing", [])
    proof["machine"]["sources"] = source_digests() | changes.get("now", {})
    (folder / "same_results.json").write_text(json.dumps(proof))
    return folder


def test_results_stay_where_other_sources_train_to_the_same(runs: Path) -> None:
    """A comparison need not be made again; by which measurement is said."""
    (found,) = aged(gather(with_proof(runs, "compare")))
    assert found.is_excused
    assert str(found).endswith("sources of jump; they train to the same results (same_results.json)")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("vram", {}),
        ("compare", {"differing": ["mlp-hybrid-n600-s101"]}),
        ("compare", {"now": {"trainer": "1" * 16}}),
        ("compare", {"then": {"jump": "1" * 16}}),
        ("compare", {"then": {"control": "1" * 16}}),
    ],
)
def test_nothing_else_is_excused(runs: Path, kind: str, changes: dict[str, Any]) -> None:
    """Memory; a run that ended differently; a comparison of results with other code, or by other code than this."""
    (found,) = aged(gather(with_proof(runs, kind, **changes)))
    assert not found.is_excused
    assert "same results" not in str(found)


def test_runs_of_other_workloads_may_end_differently(runs: Path) -> None:
    """Where a change concerns models of another kind only, a comparison without them stays as good as new."""
    (found,) = aged(gather(with_proof(runs, "compare", differing=["cnn-hybrid-n250-s101"])))
    assert found.is_excused


def test_a_workload_that_was_not_compared_may_be_one_that_ends_differently(runs: Path) -> None:
    """It is as good as new only where no run at all ended differently."""
    for differing in ([], ["cnn-hybrid-n250-s101"]):
        folder = with_proof(runs, "compare", differing=differing)
        file = folder / "same_results.json"
        proof = json.loads(file.read_text())
        file.write_text(json.dumps(proof | {"runs": [run for run in proof["runs"] if run.startswith("cnn-")]}))
        (found,) = aged(gather(folder))
        assert found.is_excused is not bool(differing)
        shutil.rmtree(folder)


def test_a_part_that_was_not_measured_may_differ(runs: Path) -> None:
    """Another help text in the code compared with leaves the comparison of results what it was."""
    (found,) = aged(gather(with_proof(runs, "compare", then={"cli": "1" * 16}, now={"cli": "2" * 16})))
    assert found.is_excused


@pytest.mark.parametrize(
    ("arm", "sources", "is_as_new"),
    [
        ("never", {"jump": "0" * 16}, True),
        ("hybrid", {"jump": "0" * 16}, False),
        ("hybrid", {}, True),
        ("unlearned", {"jump": "0" * 16}, False),
        ("never", {"jump": "1" * 16}, False),
        ("never", {"cli": "1" * 16}, True),
    ],
)
def test_runs_kept_when_the_code_changed_are_judged_one_by_one(
    runs: Path, arm: str, sources: dict[str, str], is_as_new: bool
) -> None:
    """An arm that ends differently now, or was not compared where others do, must be of the present sources."""
    folder = with_proof(runs, "compare", differing=["cnn-hybrid-n250-s101"])
    file = folder / "compare" / "summary.json"
    document = json.loads(file.read_text())
    kept = {"sources": source_digests() | sources, "runs": {"cnn": [arm], "mlp": ["baseline"]}}
    renewed = {"sources": source_digests(), "runs": {"cnn": ["hybrid"]}}
    file.write_text(json.dumps(document | {"code": [kept, renewed]}))
    found = [str(one) for one in aged(gather(folder)) if not one.is_excused]
    assert [next(iter(sources)) in one for one in found] == [True] * (not is_as_new)
