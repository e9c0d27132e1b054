"""Processes that train one model on different data decide the same, and none waits for another in vain."""

from pathlib import Path
from typing import Any

import torch
from references.host_processes import NUM, in_all


def assert_the_same(told: list[dict[str, Any]]) -> None:
    first, *others = told
    for one in others:
        assert torch.equal(one["weights"], first["weights"])
        assert one["jumped"] == first["jumped"]


def test_weights_stay_the_same_where_losses_differ(tmp_path: Path) -> None:
    """Each process shows its own; all go by their mean, jump for jump."""
    told = in_all("observing", tmp_path)
    assert_the_same(told)
    assert told[0]["losses"] == told[1]["losses"]
    assert len(told[0]["jumped"]) >= 4


def test_the_mean_of_the_probes_decides(tmp_path: Path) -> None:
    """Raised in one process only, beyond the bound in the mean: undone in both."""
    told = in_all("probing", tmp_path)
    assert_the_same(told)
    assert told[0]["jumped"] == []


def test_a_probe_that_raises_in_one_process_ends_the_jumps_in_all(tmp_path: Path) -> None:
    """Three times; the others are told where it was."""
    told = in_all("failing", tmp_path)
    assert_the_same(told)
    assert told[0]["jumped"] == []
    assert [name for name, _ in told[0]["events"]] == ["probe_failed"] * 3 + ["jumps_off"]
    assert "in another process" in told[0]["events"][0][1]
    assert "no data here" in told[1]["events"][0][1]


def test_a_loss_that_is_not_finite_in_one_process_undoes_the_jump_in_all(tmp_path: Path) -> None:
    """The gradients are the same everywhere, that loss is not."""
    told = in_all("blown_up", tmp_path)
    assert_the_same(told)
    assert [[name for name, _ in one["events"]] for one in told] == [["jump_rolled_back"]] * NUM


def test_one_process_may_ask_for_the_state_alone(tmp_path: Path) -> None:
    """Nothing is sent for it; all continue from what it had, and stay the same."""
    told = in_all("saving", tmp_path)
    assert_the_same(told)
    assert len(told[0]["jumped"]) == 3


def test_what_only_some_processes_do_is_refused_in_all(tmp_path: Path) -> None:
    """Losses shown in one, a state loaded in one: an error in each process, at the first step, and no waiting."""
    for one in in_all("uneven", tmp_path):
        assert one["shown"].startswith("UsageError: losses were shown in some processes only")
        assert one["loaded"].startswith("CheckpointError: processes are at different updates")
