"""Trouble in the middle of an accumulated update, when each process has gradients that it has not sent."""

from pathlib import Path
from typing import Any

import pytest
import torch
from references import accumulated_ranks as scenarios
from references.ranks import in_group, largest_difference

from hpt.trainer.checkpoint_file import read_checkpoint, write_checkpoint

pytestmark = pytest.mark.processes

TOLERANCE = 1e-9
"""Relative, in double precision: sums over halves of a batch are rounded otherwise."""


@pytest.fixture(scope="module")
def two() -> list[Any]:
    """What two processes found."""
    return in_group(scenarios.all_of_two, 2)


def are_equal(some: Any, other: Any) -> bool:
    return all(torch.equal(one, other["weights"][name]) for name, one in some["weights"].items())


@pytest.mark.parametrize("name", ["saved_on_the_way", "saved_plain"])
def test_each_process_goes_on_with_its_own_gradients(name: str, two: list[Any]) -> None:
    """From one file, to the bit, with jumps and without; the gradients so far were different ones."""
    first, second = (rank[name] for rank in two)
    assert not torch.equal(first["partial"][0], second["partial"][0])
    for found in (first, second):
        assert are_equal(found["whole"], found["again"])
        assert found["again"]["events"] == []
    assert are_equal(first["again"], second["again"])


def test_another_number_of_processes_begins_the_update_anew(two: list[Any], tmp_path: Path) -> None:
    """One goes on from the file of two: told, without the gradients of either, and with the next batch."""
    place = tmp_path / "run.ckpt"
    place.write_bytes(two[0]["saved_on_the_way"]["content"])
    found = scenarios.continued(0, 1, place)
    assert (found["is_clear"], found["calls"]) == (True, 20 * scenarios.PARTS + 2)
    assert found["events"][0] == (20, "update_begun_anew")
    assert found["counters"]["optimizer_updates"] == scenarios.STEPS


def test_a_file_from_before_has_the_gradients_of_one_process(tmp_path: Path) -> None:
    """Without the list by process, in the middle of an update: one process goes on to the bit."""
    found = scenarios.saved_on_the_way(0, 1, tmp_path)
    state = read_checkpoint(tmp_path / "rssm.ckpt")
    assert [state.pop(name) for name in ("has_update", "by_process", "update")] == [True, [], None]
    write_checkpoint(tmp_path / "older.ckpt", state)
    assert are_equal(scenarios.continued(0, 1, tmp_path / "older.ckpt"), found["whole"])


@pytest.mark.parametrize("name", ["failing", "failing_in_pieces"])
def test_an_error_that_is_passed_over_leaves_nothing_of_its_update(name: str, two: list[Any], tmp_path: Path) -> None:
    """Raised in all, in the second micro-batch and in a last one; under DDP and fully_shard as in one process."""
    one = scenarios.failing(0, 1, tmp_path)
    assert one["failed"] == 2
    for rank in two:
        assert rank[name]["failed"] == 2
        assert largest_difference(rank[name]["weights"], one["weights"]) < TOLERANCE
        assert rank[name]["jumps"] == one["jumps"] != []
    assert are_equal(*(rank[name] for rank in two))


def test_what_is_stored_by_name_begins_the_update_anew(two: list[Any], tmp_path: Path) -> None:
    """Told, and also where the same trainer loads it, whose unsent gradients no `zero_grad` reaches."""
    one = scenarios.stored_in_pieces(0, 1, tmp_path)
    assert one["events"] == [(5, "update_begun_anew")]
    for rank in two:
        assert rank["stored_in_pieces"]["events"] == one["events"]
        assert largest_difference(rank["stored_in_pieces"]["weights"], one["weights"]) < TOLERANCE
