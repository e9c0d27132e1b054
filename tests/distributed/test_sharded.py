"""HybridTrainer over weights in pieces (fully_shard): the run of one process on the whole batch, whatever the mesh."""

from typing import Any

import pytest
from references import sharded_ranks
from references.ranks import in_group, largest_difference

TOLERANCE = 1e-9
"""Relative, in double precision: sums over pieces and halves of a batch are rounded otherwise."""


@pytest.fixture(scope="module")
def two() -> list[Any]:
    """What two processes found, each with a half of every weight."""
    return in_group(sharded_ranks.all_of_two, 2)


@pytest.fixture(scope="module")
def four() -> list[Any]:
    """What four processes found, two replicas of two halves."""
    return in_group(sharded_ranks.all_of_four, 4)


def assert_one(group: list[Any], name: str) -> None:
    """All processes have the weights, verdicts, events and counters of one."""
    one = sharded_ranks.run(name, 0, 1)
    for mine in (rank[name] for rank in group):
        assert largest_difference(mine["weights"], one["weights"]) < TOLERANCE
        assert mine["jumps"] == one["jumps"]
        assert mine["events"] == one["events"]
        assert mine["counters"]["updates_in_losing_branches"] == one["counters"]["updates_in_losing_branches"]
        assert mine["counters"]["jumps_accepted"] == one["counters"]["jumps_accepted"] > 0


@pytest.mark.parametrize("name", sharded_ranks.RUNS)
def test_halves_are_one_process_on_the_whole_batch(name: str, two: list[Any]) -> None:
    """Orthogonal factors, norms kept, clipping, the plain trend, the default predictor, uneven and empty halves."""
    assert_one(two, name)


@pytest.mark.parametrize("name", ["nesterov", "rssm"])
def test_replicas_of_halves_are_one_process_on_the_whole_batch(name: str, four: list[Any]) -> None:
    """What two processes hold alike counts once."""
    assert_one(four, name)
