"""HybridTrainer over weights in pieces (fully_shard): the run of one process on the whole batch, whatever the mesh."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from references import sharded_scenarios as scenarios
from references.fresh_process import FreshProcess
from references.ranks import in_group, largest_difference
from references.sharded_ranks import RUNS, run

pytestmark = pytest.mark.processes

TOLERANCE = 1e-9
"""Relative, in double precision: sums over pieces and halves of a batch are rounded otherwise."""
SUM, GATHERED, SCATTERED = "sum", "all_gather_into_tensor", "reduce_scatter_base"
"""What hpt sends, sums and gathered matrices; gradients are scattered, and weights gathered, by other operations."""


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A whole run in this process, which stored its half in a folder."""
    folder = tmp_path_factory.mktemp("one")
    return {**scenarios.stored(0, 1, folder), "folder": folder / "run"}


@pytest.fixture(scope="module")
def two(one: Any) -> list[Any]:
    """What two processes found, each with a half of every weight."""
    return in_group(partial(scenarios.all_of_two, of_one=one["folder"]), 2)


@pytest.fixture(scope="module")
def four() -> list[Any]:
    """What four processes found, two replicas of two halves."""
    return in_group(scenarios.all_of_four, 4)


def assert_same(some: Any, other: Any) -> None:
    """Weights to rounding, verdicts, events."""
    assert largest_difference(some["weights"], other["weights"]) < TOLERANCE
    assert some["jumps"] == other["jumps"]
    assert some["events"] == other["events"]


def assert_alike(group: list[Any], name: str) -> Any:
    """Both processes found the same, which is returned."""
    first, second = (rank[name] for rank in group)
    assert all(torch.equal(weight, second["weights"][key]) for key, weight in first["weights"].items())
    assert (first["jumps"], first["events"]) == (second["jumps"], second["events"])
    return first


def assert_one(group: list[Any], name: str) -> None:
    """All processes have the weights, verdicts, events and counters of one."""
    one = run(name, 0, 1)
    for mine in (rank[name] for rank in group):
        assert_same(mine, one)
        assert mine["counters"]["updates_in_losing_branches"] == one["counters"]["updates_in_losing_branches"]
        assert mine["counters"]["jumps_accepted"] == one["counters"]["jumps_accepted"] > 0


@pytest.mark.parametrize("name", RUNS)
def test_halves_are_one_process_on_the_whole_batch(name: str, two: list[Any]) -> None:
    """Orthogonal factors, norms kept, clipping, the plain trend, the default predictor, uneven and empty halves."""
    assert_one(two, name)


@pytest.mark.parametrize("name", ["nesterov", "rssm"])
def test_replicas_of_halves_are_one_process_on_the_whole_batch(name: str, four: list[Any]) -> None:
    """What two processes hold alike counts once."""
    assert_one(four, name)


def test_a_loop_of_the_users_own_is_one_process_on_the_whole_batch(two: list[Any], tmp_path: Path) -> None:
    """By attach, with a probe, whose forward passes leave no gathered weights behind."""
    alone = scenarios.attached(0, 1, tmp_path)
    assert alone["jumps"]
    for rank in two:
        assert_same(rank["attached"], alone)


def test_an_attached_state_begins_another_path(two: list[Any]) -> None:
    """The trend of pieces is not stored by a state that one process may ask for alone: told, and jumps come later."""
    found = assert_alike(two, "attached_and_loaded")
    assert found["events"] == [(30, "weights_loaded")]
    assert found["jumps"]


def test_an_evaluation_of_the_callers_changes_nothing(two: list[Any]) -> None:
    """A forward pass without a backward one keeps gathered weights, which a jump would leave as they were."""
    for rank in two:
        assert_same(rank["evaluated"], rank["ramp"])


def test_a_rollback_is_exact_where_pieces_are_uneven_empty_and_alike(two: list[Any]) -> None:
    """To the bit in weights and moments, also of two biases of one shape."""
    for rank in two:
        before, later, after = (rank["undone"][name] for name in ("before", "later", "after"))
        assert before.keys() == after.keys()
        assert all(torch.equal(value, after[name]) for name, value in before.items())
        assert not any(torch.equal(value, later[name]) for name, value in before.items() if value.numel())


def test_bytes_are_of_the_pieces(two: list[Any], tmp_path: Path) -> None:
    """What the processes hold is together what one holds, but for Adam's step counts, 4 bytes for each of 7 weights."""
    first, second = (rank["sizes"] for rank in two)
    alone = scenarios.sizes(0, 1, tmp_path)
    assert (first["numel"]["0.weight"], second["numel"]["0.weight"]) == (80, 60)
    assert (first["numel"]["3.weight"], second["numel"]["3.weight"]) == (7, 0)
    assert first["trajectory"] + second["trajectory"] == alone["trajectory"]
    assert first["snapshot"] + second["snapshot"] == alone["snapshot"] + 4 * 7


def test_a_loss_that_is_not_finite_in_one_process_is_undone_in_all(two: list[Any]) -> None:
    """The cycle goes back as a whole, and the run goes on."""
    found = assert_alike(two, "not_finite")
    assert found["events"] == [(48, "rolled_back")]
    assert found["counters"]["updates_rolled_back"] == 12
    assert all(torch.isfinite(one).all() for one in found["weights"].values())


def test_a_probe_that_fails_in_one_process_ends_the_jump_in_all(two: list[Any]) -> None:
    """In every way, which all try together, since each gathers weights; jumps are off after three."""
    found = assert_alike(two, "probe_fails")
    assert found["jumps"] == []
    assert [name for _, name in found["events"]] == ["probe_failed"] * 3 + ["jumps_off"]


def test_a_way_to_probe_that_fails_in_one_process_is_left_in_all(two: list[Any]) -> None:
    """The next one works, and is told once."""
    found = assert_alike(two, "fails_in_eval_mode")
    assert [name for _, name in found["events"]] == ["probe_way"]
    assert found["jumps"]


def test_memory_that_runs_out_in_one_process_ends_all(tmp_path: Path) -> None:
    """That one with its reason; the other, which waits for its pieces, by the connection that it leaves."""
    entry = "references.sharded_scenarios:out_of_memory"
    processes = [FreshProcess(entry, [rank, str(tmp_path)]) for rank in range(2)]
    first, second = (one.end() for one in processes)
    assert first.returncode != 0
    assert second.returncode != 0
    assert "OutOfMemory: out of memory in process 1 of 2 at update 20 (none left here)" in second.stderr
    assert "OutOfMemory" not in first.stderr


def by_call(found: Any, name: str) -> dict[tuple[str, int], Counter[str]]:
    """What was sent in each call, by phase and net updates."""
    return {(phase, update): Counter(counts) for phase, update, counts in found[name]}


def test_what_is_sent_is_what_the_plain_loop_sends_and_two_messages_a_cycle(two: list[Any]) -> None:
    """Losses, norms and inner products in one, whether proposals agree in the other; nothing in a full step.

    Clipping needs the norm of all pieces in every update, in the plain loop, too.
    """
    found = two[0]["sent"]
    for mine, theirs in (("jumps", "plain"), ("clipped", "plain clipped")):
        calls, plain = by_call(found, mine), by_call(found, theirs)
        assert calls["FULL", 37] == calls["FULL", 53] == plain["FULL", 37]
        assert calls["FULL", 48] - plain["FULL", 48] == Counter({SUM: 2})


def test_a_jump_gathers_each_factor_once_and_sends_a_few_numbers(two: list[Any]) -> None:
    """Two matrices; two probes and the length, with norms kept those, too; then one verdict, after three updates.

    Update 50 is that in which processes tell one another how much memory they use.
    """
    for name, num_sent in (("jumps", 3), ("kept", 4)):
        calls = by_call(two[0]["sent"], name)
        jump = calls["PREDICT", 60]
        assert jump[GATHERED] == 2
        assert jump[SUM] == num_sent
        assert [calls["CORRECT", update][SUM] for update in (61, 62, 63)] == [0, 0, 1]


def test_of_an_accumulated_update_only_the_last_micro_batch_sends_gradients(two: list[Any]) -> None:
    """Each of the two layers that are scattered by themselves once."""
    counts = [Counter(counts) for _, update, counts in two[0]["sent"]["parts"] if update == 7]
    scattered = [one[SCATTERED] for one in counts]
    assert scattered == [2, 0]  # the call that makes update 7, and the first of the next


def test_another_number_of_processes_goes_on_from_what_is_stored(one: Any, two: list[Any], tmp_path: Path) -> None:
    """By torch.distributed.checkpoint: two from two and from one, one from two and from one; as if never stopped."""
    for name, content in two[0]["stored"]["files"].items():
        (tmp_path / name).write_bytes(content)
    goes_on = [scenarios.loaded(0, 1, folder) for folder in (tmp_path, one["folder"])]
    goes_on += [rank[name] for rank in two for name in ("loaded", "loaded of one")]
    assert [jump for jump in one["jumps"] if jump[0] > 54]
    for found in goes_on:
        assert_same(found, {**one, "jumps": [jump for jump in one["jumps"] if jump[0] > 54]})


REFUSALS = {
    "mesh": "ModelError: parameter weight is a DTensor over 1 processes, and 2 train the model; give the mesh and",
    "offload": "ConfigError: memory.offload_optimizer is set, and the optimizer's state lies in pieces",
    "observe": "ConfigError: update.observe is 'step', but several processes know their losses together",
    "folder": "CheckpointError: weights lie in pieces (DTensor), which one file cannot hold; leave checkpoint.dir",
    "save": "CheckpointError: weights lie in pieces (DTensor), which one file cannot hold",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_pieces_cannot_have_is_refused_with_the_remedy(name: str, two: list[Any]) -> None:
    """In every process, before anything is sent."""
    for rank in two:
        assert rank["refused"][name].startswith(REFUSALS[name])
