"""HybridTrainer in several processes: the same weights in all of them, and those of one process on the whole batch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from references import ranks
from references.ranks import STEPS, alone, in_two, largest_difference

pytestmark = pytest.mark.processes

TOLERANCE = 1e-9
"""Relative, in double precision: sums over halves of a batch are rounded otherwise."""


def assert_same_weights(some: dict[str, Any], others: dict[str, Any]) -> None:
    assert all(torch.equal(one, others["weights"][name]) for name, one in some["weights"].items())


@pytest.fixture(scope="module")
def two() -> list[dict[str, Any]]:
    """What each of two processes found, by scenario."""
    return in_two(ranks.every_scenario)


def both(two: list[dict[str, Any]], name: str) -> tuple[Any, Any]:
    first, second = (rank[name] for rank in two)
    return first, second


@pytest.mark.parametrize("name", ["with_nesterov", "with_rssm", "with_ramp", "with_a_fork", "with_accumulation"])
def test_two_processes_are_one_on_the_whole_batch(name: str, two: list[dict[str, Any]], tmp_path: Path) -> None:
    """Same bits in both, same weights to rounding and the same verdicts as one process."""
    (first, second), one = both(two, name), alone(ranks.SCENARIOS[name], tmp_path)
    assert_same_weights(first, second)
    assert first["jumps"] == second["jumps"] == one["jumps"]
    assert first["events"] == second["events"] == one["events"]
    assert first["counters"]["jumps_accepted"] == one["counters"]["jumps_accepted"] > 0
    assert first["counters"]["updates_in_losing_branches"] == one["counters"]["updates_in_losing_branches"]
    assert largest_difference(first["weights"], one["weights"]) < TOLERANCE


def test_of_an_accumulated_update_only_the_last_micro_batch_sends_gradients(two: list[dict[str, Any]]) -> None:
    """One bucket holds all of this model; without no_sync it would be sent twice."""
    first, _ = both(two, "with_accumulation")
    assert first["sent"] == 1


def test_a_probe_that_fails_in_one_process_ends_the_jump_in_all(two: list[dict[str, Any]]) -> None:
    """Jumps are off after three failures, everywhere, and training ends with equal weights."""
    first, second = both(two, "probe_fails_in_one")
    assert_same_weights(first, second)
    assert first["jumps"] == second["jumps"] == []
    assert first["events"] == second["events"]
    assert [name for _, name in first["events"]] == ["probe_failed"] * 3 + ["jumps_off"]


def test_a_loss_that_is_not_finite_in_one_process_is_undone_in_all(two: list[dict[str, Any]]) -> None:
    """The cycle goes back as a whole, and the run goes on from equal weights."""
    first, second = both(two, "not_finite_in_one")
    assert_same_weights(first, second)
    assert all(torch.isfinite(one).all() for one in first["weights"].values())
    assert first["events"] == second["events"]
    assert first["counters"]["updates_rolled_back"] == second["counters"]["updates_rolled_back"] > 0


def test_a_predictor_that_fails_in_one_process_is_retired_in_all(two: list[dict[str, Any]]) -> None:
    """No jump is made by some of them only."""
    first, second = both(two, "predictor_fails_in_one")
    assert_same_weights(first, second)
    assert first["jumps"] == second["jumps"] == []
    assert [name for _, name in first["events"]] == [name for _, name in second["events"]] == ["predictor_failed"]


def test_memory_that_runs_short_in_one_process_degrades_all(two: list[dict[str, Any]]) -> None:
    """At the same updates, so that they go on to jump alike."""
    first, second = both(two, "short_of_memory_in_one")
    assert_same_weights(first, second)
    assert first["jumps"] == second["jumps"] != []
    degraded = [[step for step, name in one["events"] if name == "memory_degraded"] for one in (first, second)]
    assert degraded[0] == degraded[1] != []


def test_where_processes_disagree_the_first_has_its_way(two: list[dict[str, Any]]) -> None:
    """It is told, and both make the first one's jumps."""
    first, second = both(two, "predictor_differs_in_one")
    assert_same_weights(first, second)
    assert first["jumps"] == second["jumps"] != []
    assert [name for _, name in first["events"]] == [name for _, name in second["events"]] == ["ranks_disagreed"]


def test_a_fork_goes_on_from_a_checkpoint(two: list[dict[str, Any]]) -> None:
    """Bit for bit, each process with the fork's batches and random streams that it had."""
    first, second = both(two, "saved_in_a_fork")
    for found in (first, second):
        assert_same_weights(found["whole"], found["again"])
        assert found["again"]["counters"] == found["whole"]["counters"]
        assert found["whole"]["counters"]["updates_in_losing_branches"] > 0
    assert_same_weights(first["again"], second["again"])


def test_the_first_process_writes_and_all_go_on_from_it(two: list[dict[str, Any]]) -> None:
    """Bit for bit, each with random streams of its own; the names in the file have no prefix of the wrapper."""
    first, second = both(two, "saved_and_resumed")
    for found in (first, second):
        assert_same_weights(found["whole"], found["again"])
        assert found["again"]["counters"]["optimizer_updates"] == STEPS
    assert_same_weights(first["again"], second["again"])
    assert first["place"] == second["place"]
    assert b"module." not in first["place"][:4000]
    assert not torch.equal(first["rng"], second["rng"])
