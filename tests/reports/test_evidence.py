"""What is read from a folder of runs, and what is named and left out."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from references.stored_runs import write_timings

from hpt_reports.evidence import digest_of, gather
from hpt_reports.kinds import COMPARISON, KINDS, MEMORY, OVERHEAD, RELEASE, TIMING, TRAINING
from hpt_reports.provenance import Provenance
from hpt_reports.timings import SCENARIOS

EVIDENCE = Path(__file__).parents[2] / "reports" / "evidence"


def edit(file: Path, change: Callable[[dict[str, object]], object]) -> None:
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


def test_every_kind_of_run_is_recognised(stored: Path) -> None:
    """One folder with a run of each kind but the release check gives them all, and no remark."""
    evidence = gather(stored)
    assert {one.kind for one in evidence.sources} == set(KINDS) - {RELEASE}
    assert evidence.remarks == ()
    assert len(evidence.of(TIMING)) == 2


def test_the_repositorys_own_evidence_is_read_whole() -> None:
    """Nothing in it is damaged, of another schema, or left out."""
    assert [str(one) for one in gather(EVIDENCE).remarks] == []


def test_a_run_knows_machine_commit_day_and_command(stored: Path) -> None:
    """As hpt stored them, for a pyperf file from the machine.json beside it."""
    timing, memory = gather(stored).of(TIMING)[0].provenance, gather(stored).of(MEMORY)[0].provenance
    assert timing.machine is not None
    assert timing.machine["cpu_model"]
    assert "--preset" in timing.command
    assert memory.command.startswith("hpt validate-vram --model gpt2-nano")
    assert len(memory.day) == len("2026-01-02")


def test_labels_are_unique_and_do_not_depend_on_the_order_of_the_disk(stored: Path) -> None:
    """Two gatherings agree, and no two sources share a label."""
    labels = [(one.label, one.path) for one in gather(stored).sources]
    assert labels == [(one.label, one.path) for one in gather(stored).sources]
    assert len({label for label, _ in labels}) == len(labels)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b'{"schema_version": 1, "arms":', "corrupt"),
        (b"\xff\xfe\x00", "corrupt"),
        (b"[1, 2]", "foreign"),
        (b'{"name": "package", "version": "2.0.0"}', "foreign"),
        (b'{"benchmarks": [], "version": "1.0"}', "corrupt"),
        (b'{"schema_version": 99, "kind": "comparison"}', "newer"),
        (b'{"schema_version": "old", "kind": "profile"}', "corrupt"),
    ],
)
def test_what_cannot_be_used_is_named_and_left_out(tmp_path: Path, content: bytes, word: str) -> None:
    """Neither guessed at nor fatal."""
    (tmp_path / "odd.json").write_bytes(content)
    evidence = gather(tmp_path)
    assert evidence.sources == ()
    assert [(one.path, one.word) for one in evidence.remarks] == [("odd.json", word)]


def test_a_pyperf_file_of_other_software_is_foreign(tmp_path: Path) -> None:
    """It says nothing about hpt, however valid it is."""
    file = write_timings(tmp_path, names=("state_history/record_step",))
    file.write_text(file.read_text().replace("hpt_schema", "their_schema"))
    assert [one.word for one in gather(tmp_path).remarks] == ["foreign"]


def test_timings_of_a_newer_schema_are_refused(tmp_path: Path) -> None:
    """What a later hpt means by its numbers is not known here."""
    write_timings(tmp_path, names=("state_history/record_step",), schema=99)
    assert [one.word for one in gather(tmp_path).remarks] == ["newer"]


def test_half_a_benchmark_is_used_and_named(tmp_path: Path) -> None:
    """Three of sixteen scenarios: a remark says so, the three count."""
    write_timings(tmp_path, names=SCENARIOS[:3])
    evidence = gather(tmp_path)
    assert len(evidence.of(TIMING)) == 1
    assert [one.word for one in evidence.remarks] == ["partial"]
    assert "3 of 16" in evidence.remarks[0].reason


def test_an_unfinished_run_and_comparison_are_named(runs: Path) -> None:
    """An interrupted training run, and a comparison whose cells are not all there."""
    edit(runs / "train" / "run.json", lambda one: one.update(status="interrupted"))
    edit(runs / "compare" / "summary.json", lambda one: one.update(complete=False))
    evidence = gather(runs)
    assert {(one.path, one.word) for one in evidence.remarks} == {
        ("train/run.json", "partial"),
        ("compare/summary.json", "partial"),
    }
    assert len(evidence.of(TRAINING)) == len(evidence.of(COMPARISON)) == 1


def test_parts_of_a_run_are_no_runs_of_their_own(runs: Path) -> None:
    """Per-scenario files, cells, checkpoints and notes of what is done are not read as measurements."""
    for place in (
        "bench-default/scenarios/x.json",
        "compare/cells/y.json",
        "vram/arm-plain.done.json",
        ".hidden/z.json",
    ):
        (runs / place).parent.mkdir(exist_ok=True)
        (runs / place).write_text("{}")
    assert gather(runs).remarks == ()


def test_the_newest_of_a_kind_comes_first(runs: Path) -> None:
    """By the moment stored in the file, not by its name or the disk's time."""
    old, new = runs / "train" / "run.json", runs / "a-later" / "run.json"
    new.parent.mkdir()
    new.write_bytes(old.read_bytes())
    edit(new, lambda one: one.update(finished_at="2099-01-01T00:00:00+00:00"))
    assert [one.path for one in gather(runs).of(TRAINING)] == ["a-later/run.json", "train/run.json"]


def test_the_digest_covers_the_files_beside(runs: Path) -> None:
    """An edit of machine.json changes the digest of the benchmark it belongs to."""
    before = gather(runs).of(TIMING)[-1]
    edit(before.file.parent / "machine.json", lambda one: one.update(started_at="2020-01-01T00:00:00+00:00"))
    after = next(one for one in gather(runs).sources if one.path == before.path)
    assert after.digest != before.digest
    overhead = gather(runs).of(OVERHEAD)[0]
    assert overhead.digest == digest_of([overhead.file])


def test_a_comparison_measured_at_several_times_names_all_its_commits() -> None:
    """The newest cell's first."""
    machine = {"commit": "a" * 40, "is_dirty": False, "commits": ["b" * 40, "a" * 40]}
    assert Provenance(machine, "", "").code == "a" * 9 + ", " + "b" * 9
