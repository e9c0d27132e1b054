"""The memory layers inside a trainer: each acts when it is on, and its absence shows when it is off."""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from references.problems import Problem, teacher, weights_of
from torch import nn

from hpt.errors import OutOfMemory
from hpt.memory import manager as memory_manager
from hpt.memory.cleanup import CleanUp
from hpt.records import EventRecord, MemoryRecord, Phase, Record, StepRecord

ALWAYS: dict[str, Any] = {
    "gate": "always",
    "warmup_steps": 10,
    "predict": {"window_start_frac": 0.0, "window_end_frac": 1.0},
}
STEPS = 60
LOW = 2.0  # bytes: any use is above it
Losses = list[float]


def _run(problem: Problem, steps: int = STEPS, **settings: Any) -> tuple[Losses, list[Record], Any]:
    records: list[Record] = []
    trainer = problem.trainer(records, **ALWAYS, **settings)
    return problem.run(trainer, steps), records, trainer


def _events(records: list[Record], name: str) -> list[EventRecord]:
    return [one for one in records if isinstance(one, EventRecord) and one.name == name]


def _jumps(records: list[Record]) -> int:
    return sum(isinstance(one, StepRecord) and one.was_predicted for one in records)


def _failing(problem: Problem, at: int, times: int = 1, after: Callable[[], object] = lambda: None) -> Problem:
    """Forward pass number `at`, and those that follow up to `times`, run out of memory when they are done."""
    loss_fn, calls = problem.loss_fn, 0

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        value = loss_fn(model, batch)
        if at <= calls < at + times:
            after()
            raise torch.OutOfMemoryError("planted")
        return value

    problem.loss_fn = loss
    return problem


def test_no_parameter_moves_through_jumps_and_rollbacks() -> None:
    """Layer 1: several jumps are made, none of them copies."""
    _, records, trainer = _run(teacher())
    assert _jumps(records) >= 3
    assert trainer._c.memory.copies.num_copies == 0
    assert _events(records, "parameters_moved") == []


def test_a_loss_function_that_replaces_parameters_is_found_out() -> None:
    """Layer 1: new storage under a parameter is an event that names how many, and in how many updates."""
    problem = teacher()
    loss_fn = problem.loss_fn

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        first = next(model.parameters())
        first.data = first.data.clone()
        return loss_fn(model, batch)

    problem.loss_fn = loss
    _, records, trainer = _run(problem, 20, memory={"check_interval": 10})
    assert trainer._c.memory.copies.num_copies == 2
    found = [(one.data["num_moved"], one.data["num_updates"]) for one in _events(records, "parameters_moved")]
    assert found == [(1, 10)] * 2


@pytest.mark.parametrize(("interval", "times"), [(20, 3), (0, 0)])
def test_clean_ups_are_made_and_recorded(monkeypatch: pytest.MonkeyPatch, interval: int, times: int) -> None:
    """Layer 2: an allocator with 100 idle MiB is cleaned every interval, or never."""
    mib = 1024**2
    made = CleanUp(100 * mib, 90 * mib)
    monkeypatch.setattr(
        memory_manager.Cleaner,
        "after_update",
        lambda self, update: made if interval and update % interval == 0 else None,
    )
    _, records, _ = _run(teacher(), memory={"cleanup_interval": interval})
    assert [one.data["freed_bytes"] for one in _events(records, "memory_freed")] == [90 * mib] * times


def test_every_change_of_phase_has_its_reading() -> None:
    """Layer 3: as many readings as changes, in the phase that begins."""
    _, records, _ = _run(teacher())
    phases = [one.phase for one in records if isinstance(one, StepRecord)]
    changes = [new for old, new in pairwise(phases) if new is not old]
    read = [one for one in records if isinstance(one, MemoryRecord)]
    assert [one.phase for one in read] == changes
    assert all(one.process_bytes for one in read)
    assert len(changes) > 5


def test_the_layers_do_not_touch_the_training() -> None:
    """All watching layers on or all off: the same losses, bit for bit."""
    off = {"cleanup_interval": 0, "warn_at": None, "checkpoint_at": None}
    on = {"cleanup_interval": 2, "cleanup_min_bytes": 1, "warn_at": LOW, "check_interval": 1}
    assert _run(teacher(), memory=off)[0] == _run(teacher(), memory=on)[0]


def test_a_warning_is_given_once() -> None:
    """Layer 4: use above the threshold is one event with the bytes, not one a step; without it none."""
    _, records, _ = _run(teacher(), 30, memory={"warn_at": LOW, "check_interval": 1})
    (warning,) = _events(records, "memory_warning")
    used = warning.data["used_bytes"]
    assert isinstance(used, int)
    assert used > 10 * 1024**2
    assert _events(_run(teacher(), 30, memory={"warn_at": None})[1], "memory_warning") == []


def test_degrading_gives_up_rung_by_rung() -> None:
    """Layer 4: bf16 on the host, then the horizon, again and again; the weights still train."""
    before = _run(teacher(), 3)[2]._c.outer.trajectory.nbytes
    _, records, trainer = _run(teacher(), memory={"degrade_at": LOW, "check_interval": 15})
    said = [one.message.split("; ")[1] for one in _events(records, "memory_degraded")]
    assert [one.split(",")[0] for one in said] == [
        "trajectory stored in bf16",
        "horizon halved",
        "horizon halved",
        "horizon halved",
    ]
    assert trainer._c.outer.trajectory.nbytes == before // 2  # the same copies in half the bytes
    assert trainer._c.state.horizon_factor < 1.0
    assert _jumps(records) >= 3


@pytest.mark.parametrize("saved_at", [20, 40])
def test_a_degraded_run_continues_bit_for_bit(tmp_path: Path, saved_at: int) -> None:
    """The rung is in the checkpoint: the resumed run stores its trajectory as the first one did."""
    memory = {"degrade_at": LOW, "check_interval": 15}
    problem = teacher()
    trainer = problem.trainer([], **ALWAYS, memory=memory)
    problem.run(trainer, saved_at)
    trainer.save(tmp_path / "mid.ckpt")
    expected = problem.run(trainer, saved_at + 9)
    other = teacher()
    resumed = other.trainer([], **ALWAYS, memory=memory)
    resumed.load(tmp_path / "mid.ckpt")
    assert resumed._c.degradation.rung == saved_at // 15
    assert other.run(resumed, saved_at + 9) == expected


def test_an_emergency_checkpoint_is_written_once_and_can_be_resumed(tmp_path: Path) -> None:
    """Layer 4: the file holds the state after the call that crossed the threshold, and the run goes on from it."""
    settings: dict[str, Any] = {"memory": {"checkpoint_at": LOW, "check_interval": 33}}
    settings["checkpoint"] = {"dir": str(tmp_path), "save_interval": 10**6}
    losses, records, _ = _run(teacher(), **settings)
    (saved,) = tmp_path.glob("*.safetensors")
    (event,) = _events(records, "emergency_checkpoint")
    assert event.data["path"] == str(saved)
    other = teacher()
    resumed = other.trainer([], **ALWAYS)
    resumed.load(saved)
    position = resumed.num_calls
    assert 0 < position < len(losses)
    assert other.run(resumed, STEPS) == losses[position:]


def test_without_a_folder_an_emergency_says_so() -> None:
    """Layer 4: nothing can be written, and that is recorded instead of passed over."""
    _, records, _ = _run(teacher(), 12, memory={"checkpoint_at": LOW, "check_interval": 12})
    assert len(_events(records, "emergency_checkpoint_impossible")) == 1
    assert _events(records, "emergency_checkpoint") == []


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_step_that_ran_out_of_memory_is_repeated_exactly(dropout: float) -> None:
    """Layer 5: the run goes on as if nothing had happened, dropout's random numbers and batch norm included."""
    calm = teacher(dropout=dropout, norm=True)
    shaken = _failing(teacher(dropout=dropout, norm=True), at=15)
    torch.manual_seed(5)
    expected, _, _ = _run(calm)
    torch.manual_seed(5)
    losses, records, _ = _run(shaken)
    assert losses == expected
    assert len(_events(records, "out_of_memory")) == 1
    assert all(torch.equal(one, other) for one, other in zip(calm.model.buffers(), shaken.model.buffers(), strict=True))


def test_a_real_failed_allocation_on_the_host_is_recovered() -> None:
    """Layer 5: torch's host allocator raises a plain RuntimeError, and it counts."""
    shaken = _failing(teacher(), at=15, after=lambda: torch.empty(1 << 46, dtype=torch.uint8))
    losses, records, _ = _run(shaken)
    assert losses == _run(teacher())[0]
    assert "can't allocate memory" in _events(records, "out_of_memory")[0].message


def test_accumulated_micro_batches_are_all_repeated() -> None:
    """Layer 5: the third of four micro-batches fails; the update is made from all four again."""
    expected = _run(teacher(), 30, update={"accumulation_steps": 4})[0]
    losses = _run(_failing(teacher(), at=7), 30, update={"accumulation_steps": 4})[0]
    assert [one for one in losses if math.isfinite(one)] == [one for one in expected if math.isfinite(one)]


def test_memory_that_does_not_come_back_ends_the_run_with_a_usable_checkpoint(tmp_path: Path) -> None:
    """Layer 5: after the retries there is an error with exit code 7 and a file from which the run goes on."""
    problem = _failing(teacher(), at=25, times=3)
    trainer = problem.trainer([], **ALWAYS, checkpoint={"dir": str(tmp_path), "save_interval": 10**6})
    losses: Losses = []
    with pytest.raises(OutOfMemory, match="after 2 retries, state saved to") as caught:
        losses += problem.run(trainer, STEPS)
    assert caught.value.exit_code == 7
    (saved,) = tmp_path.glob("*.safetensors")
    other = teacher()
    resumed = other.trainer([], **ALWAYS)
    resumed.load(saved)
    position = resumed.num_calls
    assert other.run(resumed, STEPS) == _run(teacher())[0][position:]


def test_without_retries_the_first_failure_ends_the_run() -> None:
    """Layer 5 switched off."""
    problem = _failing(teacher(), at=15)
    trainer = problem.trainer([], **ALWAYS, memory={"max_retries": 0})
    with pytest.raises(OutOfMemory):
        problem.run(trainer, STEPS)


@pytest.mark.parametrize("part", ["end_cycle", "begin_cycle"])
def test_no_memory_at_the_end_of_a_cycle_costs_the_jump_not_the_step(
    monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Layer 5: the bookkeeping of a cycle fails once; training goes on and jumps later."""
    problem = teacher()
    records: list[Record] = []
    trainer = problem.trainer(records, **ALWAYS)
    problem.run(trainer, 15)
    trajectory = trainer._c.outer.trajectory
    original, calls = getattr(trajectory, part), 0

    def fails_once(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise torch.OutOfMemoryError("planted")
        return original(*arguments)

    monkeypatch.setattr(trajectory, part, fails_once)
    losses = problem.run(trainer, STEPS)
    assert len(_events(records, "out_of_memory")) == 1
    assert all(math.isfinite(loss) for loss in losses)
    assert _jumps(records) >= 2
    assert trainer.num_updates == STEPS


def test_no_memory_in_the_probe_undoes_the_jump() -> None:
    """Layer 5: PREDICT fails, the weights are as before it, and a full step follows on the same batch."""
    problem = teacher()
    records: list[Record] = []
    trainer = problem.trainer(records, **ALWAYS)
    while trainer.phase is not Phase.PREDICT:
        trainer.step(problem.batch(trainer.num_calls))
    loss_fn = problem.loss_fn
    failed = []

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        if not failed:
            failed.append(weights_of(model))
            raise torch.OutOfMemoryError("planted")
        if len(failed) == 1:
            failed.append(weights_of(model))
        return loss_fn(model, batch)

    trainer._c.full.loss_fn = loss
    result = trainer.step(problem.batch(trainer.num_calls))
    assert (result.num_backward, result.was_predicted) == (1, False)
    assert torch.equal(failed[0], failed[1])
    assert len(_events(records, "probe_failed")) == 1


def test_offloading_the_optimizer_changes_nothing() -> None:
    """Option: its state is away during the probes, and every loss and weight is the same bit for bit."""
    here, there = teacher(), teacher()
    expected, records, _ = _run(here)
    losses, _, trainer = _run(there, memory={"offload_optimizer": True})
    assert losses == expected
    assert torch.equal(weights_of(here.model), weights_of(there.model))
    assert _jumps(records) >= 3
    assert trainer._c.outer._optimizer_state is not None


def test_a_rejected_jump_finds_its_optimizer_again() -> None:
    """Option: a jump that is undone is undone with the optimizer's state back in its place."""
    tight: dict[str, Any] = {"probe": {"max_rise_frac": 0.0, "batches": 1}}
    expected = _run(teacher(), **tight)[0]
    assert _run(teacher(), memory={"offload_optimizer": True}, **tight)[0] == expected


@pytest.mark.parametrize("phase", ["warmup", "full", "predict", "correct"])
def test_each_phase_has_a_precision_of_its_own(phase: str) -> None:
    """Option: autocast to bf16 in one phase is seen by the forward passes of that phase and of no other."""
    problem = teacher()
    loss_fn, seen = problem.loss_fn, {}
    trainer = problem.trainer([], **ALWAYS, precision={"phases": {phase: "bf16"}})

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        seen.setdefault(str(trainer.phase).lower(), set()).add(torch.is_autocast_enabled("cpu"))
        return loss_fn(model, batch)

    trainer._c.full.loss_fn = loss
    problem.run(trainer, 45)
    assert seen == {name: {name == phase} for name in ("warmup", "full", "predict", "correct")}


def test_precision_of_the_probes_leaves_full_steps_alone() -> None:
    """Option: bf16 probes change the reported loss of PREDICT; the steps between the same jumps do not change."""
    expected, records, _ = _run(teacher())
    losses, others, _ = _run(teacher(), precision={"phases": {"predict": "bf16"}})
    predicted = [one.phase is Phase.PREDICT for one in records if isinstance(one, StepRecord)]
    assert predicted == [one.phase is Phase.PREDICT for one in others if isinstance(one, StepRecord)]
    pairs = list(zip(expected, losses, predicted, strict=True))
    assert all(one == other for one, other, jumped in pairs if not jumped)
    assert any(one != other for one, other, jumped in pairs if jumped)


@pytest.mark.cuda
@pytest.mark.parametrize("option", [{"trajectory": {"device": "host"}}, {"memory": {"offload_optimizer": True}}])
def test_what_waits_on_the_host_comes_back_the_same(option: dict[str, Any]) -> None:
    """On a GPU: trajectory in pinned memory, or the optimizer's state away in PREDICT, against all on the device."""

    def losses_with(**settings: Any) -> Losses:
        problem = teacher()
        problem.model.cuda()
        batch = problem.batch
        problem.batch = lambda index: tuple(one.cuda() for one in batch(index))
        return _run(problem, **settings)[0]

    on_device = losses_with(trajectory={"device": "device"})
    assert losses_with(**({"trajectory": {"device": "device"}} | option)) == pytest.approx(on_device, rel=1e-4)
