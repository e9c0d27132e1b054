"""Ten things that go wrong: each is survived or refused cleanly, and none leaves a half-applied jump."""

import copy
import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from references.bad_predictor import Overshoot, Raising
from references.forking import Forking
from references.fresh_process import FreshProcess
from references.problems import Problem, teacher, weights_of
from references.records import events_of

from hpt import HybridConfig, HybridTrainer, Phase
from hpt.errors import HptError, OutOfMemory, TrainingDiverged
from hpt.records import Record

SETTINGS: dict[str, Any] = {"total_steps": 200, "full_steps": 10, "warmup_steps": 20, "gate": "always"}
Batch = tuple[torch.Tensor, torch.Tensor]


def build(
    problem: Problem, records: list[Record] | None = None, predictor: Any = None, **settings: Any
) -> HybridTrainer:
    config = HybridConfig.from_dict({"predictor": "nesterov"} | SETTINGS | settings)
    sink = None if records is None else records.append
    return HybridTrainer(problem.model, problem.optimizer, problem.loss_fn, config, problem.scheduler, sink, predictor)


def events(records: list[Record]) -> list[str]:
    return [one.name for one in events_of(records)]


def reach(problem: Problem, trainer: HybridTrainer, phase: Phase) -> None:
    while trainer.phase is not phase:
        trainer.step(problem.batch(trainer.num_calls))
        assert trainer.num_calls < 500


def spoil(problem: Problem, change: Callable[[torch.Tensor, int], torch.Tensor]) -> None:
    """Pass every loss through `change(loss, number of the call)`."""
    inner, calls = problem.loss_fn, {"n": 0}

    def loss_fn(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        calls["n"] += 1
        return change(inner(model, batch), calls["n"])

    problem.loss_fn = loss_fn


def test_1_a_nan_loss_is_skipped_with_buffers_restored() -> None:
    """The update is refused: weights, BatchNorm statistics and net count are as before; training goes on."""
    problem, records = teacher(norm=True), list[Record]()
    trainer = build(problem, records)
    problem.run(trainer, 25)
    x, y = problem.batch(99)
    before, updates = copy.deepcopy(problem.model.state_dict()), trainer.num_updates
    result = trainer.step((x * math.nan, y))
    assert math.isnan(result.loss)
    for name, value in problem.model.state_dict().items():
        assert torch.equal(value, before[name])
    assert trainer.num_updates == updates
    assert events(records) == ["update_skipped"]
    problem.run(trainer, 60)
    assert weights_of(problem.model).isfinite().all()


def test_1b_three_in_a_row_end_the_run_and_name_the_checkpoint(tmp_path: Path) -> None:
    """Three refusals in a row raise TrainingDiverged with the last checkpoint's path."""
    problem = teacher()
    trainer = build(problem, checkpoint={"dir": str(tmp_path), "save_interval": 10})
    problem.run(trainer, 25)
    x, y = problem.batch(99)
    trainer.step((x * math.nan, y))
    trainer.step((x * math.nan, y))
    with pytest.raises(TrainingDiverged, match=r"3 updates in a row.*step-0*2\d\.safetensors"):
        trainer.step((x * math.nan, y))


def test_2_an_infinite_gradient_is_skipped() -> None:
    """A finite loss with an infinite gradient leaves the weights as they were."""
    problem, records = teacher(), list[Record]()
    spoil(problem, lambda loss, call: loss + 0.0 * (loss - loss).sqrt() if call == 31 else loss)
    trainer = build(problem, records, warmup_steps=200)
    problem.run(trainer, 30)
    before = weights_of(problem.model)
    trainer.step(problem.batch(trainer.num_calls))
    assert torch.equal(weights_of(problem.model), before)
    assert events(records) == ["update_skipped"]
    problem.run(trainer, 40)


def after_a_jump(records: list[Record]) -> tuple[Problem, HybridTrainer, torch.Tensor]:
    """A run in its first CORRECT, one step after the jump, and the weights before it."""
    problem = teacher()
    trainer = build(problem, records)
    reach(problem, trainer, Phase.PREDICT)
    before = weights_of(problem.model)
    trainer.step(problem.batch(trainer.num_calls))
    trainer.step(problem.batch(trainer.num_calls))
    assert not torch.equal(weights_of(problem.model), before)
    return problem, trainer, before


@pytest.mark.parametrize("value", [math.nan, 1e38])
def test_3_an_exploding_loss_after_a_jump_restores_the_state_before_it(value: float) -> None:
    """Weights in CORRECT that give no finite loss: the kept jump and its steps are undone together."""
    records = list[Record]()
    problem, trainer, before = after_a_jump(records)
    with torch.no_grad():
        next(problem.model.parameters()).fill_(value)
        list(problem.model.parameters())[-1].fill_(value)
    trainer.step(problem.batch(trainer.num_calls))
    assert torch.equal(weights_of(problem.model), before)
    assert "jump_rolled_back" in events(records)
    assert trainer.phase is Phase.FULL


def test_3b_a_bad_batch_after_a_jump_is_not_the_jumps_fault() -> None:
    """NaN that is in the data: the update is skipped, the jump stays and its three steps of CORRECT are made."""
    records = list[Record]()
    problem, trainer, _ = after_a_jump(records)
    kept = weights_of(problem.model)
    x, y = problem.batch(99)
    trainer.step((x * math.nan, y))
    assert torch.equal(weights_of(problem.model), kept)
    assert events(records) == ["update_skipped"]
    assert trainer.phase is Phase.CORRECT
    for _ in range(2):
        trainer.step(problem.batch(trainer.num_calls))
    assert trainer.phase is Phase.FULL
    assert trainer.summary()["counters"]["jumps_rolled_back"] == 0


@pytest.mark.parametrize("calls", [{1, 2, 3}, {2}])
def test_4_a_raising_probe_undoes_the_jump_and_makes_a_full_step(calls: set[int]) -> None:
    """Whether the probe before (each way of it) or after the jump raises, the run continues as if there was no jump."""
    problem, records = teacher(), list[Record]()
    trainer = build(problem, records)
    reach(problem, trainer, Phase.PREDICT)
    seen = {"calls": 0}

    def fail(loss: torch.Tensor, _: int) -> torch.Tensor:
        seen["calls"] += 1
        if seen["calls"] in calls:
            raise RuntimeError("probe broke")
        return loss

    spoil(problem, fail)
    trainer._c.full.loss_fn = problem.loss_fn
    before = weights_of(problem.model)
    result = trainer.step(problem.batch(trainer.num_calls))
    assert "probe_failed" in events(records)
    assert result.num_backward == 1
    assert not result.was_predicted
    change = float((weights_of(problem.model) - before).norm())
    assert 0.0 < change < 0.1
    assert trainer.phase is Phase.FULL


def test_5_a_failing_checkpoint_write_is_recorded_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs the checkpoint, not the run; the losses are those of a run without checkpoints."""
    problem, records = teacher(), list[Record]()
    trainer = build(problem, records, checkpoint={"dir": str(tmp_path), "save_interval": 10})
    usage = type("Usage", (), {"free": 10})()
    monkeypatch.setattr("hpt.trainer.checkpoint_file.shutil.disk_usage", lambda _: usage)
    losses = problem.run(trainer, 50)
    assert events(records).count("checkpoint_failed") == 5
    assert list(tmp_path.iterdir()) == []
    other = teacher()
    assert losses == other.run(build(other), 50)


@pytest.mark.parametrize("method", ["observe", "propose", "judge"])
def test_6_a_raising_predictor_is_retired(method: str) -> None:
    """From then on the run is the plain one, up to the jump whose verdict it would not hear."""
    problem, records, plain = teacher(), list[Record](), teacher()
    trainer = build(problem, records, Raising(method))
    losses = problem.run(trainer, 60)
    assert "predictor_failed" in events(records)
    assert trainer.summary()["predictor"]["failed"] is True
    assert trainer.summary()["counters"]["jumps_accepted"] == (1 if method == "judge" else 0)
    updates_only = [
        loss
        for loss, record in zip(losses, (r for r in records if r.kind == "step"), strict=True)
        if getattr(record, "phase", None) is not Phase.PREDICT
    ]
    reference = build(plain, predictor=None, gate="earned", warmup_steps=200)
    if method != "judge":
        assert updates_only == plain.run(reference, 60)


class Hungry(torch.optim.SGD):
    """Runs out of memory inside its update, after having changed the weights."""

    def __init__(self, parameters: Any, at: tuple[int, ...]) -> None:
        super().__init__(parameters, lr=0.01)
        self.calls, self.at = 0, at

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.calls += 1
        super().step(closure)
        if self.calls in self.at:
            raise torch.OutOfMemoryError("tried to allocate 20.00 GiB")


@pytest.mark.parametrize("where", ["forward", "update"])
def test_7_out_of_memory_is_retried_from_a_good_state(where: str) -> None:
    """After freeing, the losses go on as in a run without the fault (from the last good state inside an update)."""
    problem, records, plain = teacher(), list[Record](), teacher()
    if where == "update":
        problem.optimizer, problem.scheduler = Hungry(problem.model.parameters(), (31,)), None
        plain.optimizer, plain.scheduler = Hungry(plain.model.parameters(), ()), None
    else:

        def starve(loss: torch.Tensor, call: int) -> torch.Tensor:
            if call == 31:
                raise torch.OutOfMemoryError("tried to allocate 20.00 GiB")
            return loss

        spoil(problem, starve)
    trainer = build(problem, records, warmup_steps=200)
    losses = problem.run(trainer, 40)
    expected = plain.run(build(plain, warmup_steps=200), 40)
    assert "out_of_memory" in events(records)
    assert losses[:30] == expected[:30]
    assert losses[30:] == expected[30:40]


def test_7b_memory_that_never_comes_is_refused_with_a_checkpoint(tmp_path: Path) -> None:
    """After the retries the error names the remedy and the state that was saved."""
    problem = teacher()

    def starve(loss: torch.Tensor, call: int) -> torch.Tensor:
        if call > 25:
            raise torch.OutOfMemoryError("tried to allocate 20.00 GiB")
        return loss

    spoil(problem, starve)
    trainer = build(problem, checkpoint={"dir": str(tmp_path)}, warmup_steps=200)
    with pytest.raises(OutOfMemory, match=r"after 2 retries, state saved to .*safetensors; lower the batch size"):
        problem.run(trainer, 40)
    fresh = teacher()
    again = build(fresh, warmup_steps=200)
    again.load(next(tmp_path.iterdir()))
    assert again.num_updates == 25


def test_8_a_raising_scheduler_is_named_and_the_state_can_be_saved(tmp_path: Path) -> None:
    """The update before it is complete and counted; the error says what to do."""
    problem = teacher()
    problem.scheduler = torch.optim.lr_scheduler.OneCycleLR(problem.optimizer, 1e-2, total_steps=30)
    trainer = build(problem)
    with pytest.raises(HptError, match=r"scheduler\.step\(\) raised ValueError.*give the scheduler as many steps"):
        problem.run(trainer, 60)
    assert trainer.summary()["counters"]["optimizer_updates"] == 31
    assert trainer.num_updates == 31
    trainer.save(tmp_path / "run.ckpt")


def test_9_a_loader_that_ends_mid_cycle_leaves_an_ordinary_run() -> None:
    """Ending inside an open fork or an update in progress leaves the weights of ordinary steps."""
    problem, plain = teacher(), teacher()
    trainer = problem.trainer(None, Forking((30,)), gate="always", update={"accumulation_steps": 2})
    while trainer._c.state.fork is None:
        trainer.step(problem.batch(trainer.num_calls))
    for _ in range(7):
        trainer.step(problem.batch(trainer.num_calls))
    trainer.finish()
    reference = build(plain, warmup_steps=200, update={"accumulation_steps": 2})
    for index in range(trainer.num_calls):
        reference.step(plain.batch(index))
    assert torch.equal(weights_of(problem.model), weights_of(plain.model))
    assert trainer.summary()["counters"]["jumps_accepted"] == 0


def test_10_sigterm_saves_and_says_how_to_resume(tmp_path: Path) -> None:
    """`hpt train` on SIGTERM: exit 130, a checkpoint, and the command that continues."""
    out = tmp_path / "run"
    command = ["train", "--workload", "regression", "--steps", "1000000", "--out", str(out), "--threads", "1"]
    process = FreshProcess("hpt.cli.main:run", [command])
    for _ in range(600):
        time.sleep(0.1)
        if (out / "steps.jsonl").exists() and (out / "steps.jsonl").stat().st_size > 20_000:
            break
    os.kill(process.pid, signal.SIGTERM)
    done = process.end()
    assert done.returncode == 130, done.stderr
    assert "--resume" in done.stderr
    assert list((out / "checkpoints").glob("*.safetensors"))


def test_interrupt_inside_a_jump_undoes_it() -> None:
    """Ctrl-C between the two probes: the weights are those before the call, and the exception goes on."""
    problem = teacher()
    trainer = build(problem, predictor=Overshoot(0.5))
    reach(problem, trainer, Phase.PREDICT)
    before = weights_of(problem.model)
    start = trainer._c.ledger.counters.forwards

    def interrupt(loss: torch.Tensor, _: int) -> torch.Tensor:
        if trainer._c.ledger.counters.forwards == start + 1:
            raise KeyboardInterrupt
        return loss

    spoil(problem, interrupt)
    trainer._c.full.loss_fn = problem.loss_fn
    with pytest.raises(KeyboardInterrupt):
        trainer.step(problem.batch(trainer.num_calls))
    assert torch.equal(weights_of(problem.model), before)
