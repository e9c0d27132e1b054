"""Undoing a jump is exact, and the net count of updates goes back with it."""

import copy
import dataclasses
from typing import Any

from references.bad_predictor import Overshoot
from references.problems import Problem, teacher
from references.same import assert_same

from hpt import HybridConfig, HybridTrainer, Phase
from hpt.records import EventRecord, JumpRecord, Record


def state_of(problem: Problem) -> dict[str, Any]:
    assert problem.scheduler is not None
    return copy.deepcopy(
        {
            "model": problem.model.state_dict(),
            "optimizer": problem.optimizer.state_dict(),
            "scheduler": problem.scheduler.last_epoch,
        }
    )


def trainer_with(problem: Problem, predictor: Overshoot, records: list[Record], **probe: float) -> HybridTrainer:
    config = HybridConfig.from_dict(
        {
            "total_steps": 200,
            "full_steps": 10,
            "warmup_steps": 20,
            "gate": "always",
            "predict": {"max_jump_ratio": 10.0},
            "probe": probe,
        }
    )
    return HybridTrainer(
        problem.model, problem.optimizer, problem.loss_fn, config, problem.scheduler, records.append, predictor
    )


def reach(problem: Problem, trainer: HybridTrainer, phase: Phase) -> None:
    while trainer.phase is not phase:
        trainer.step(problem.batch(trainer.num_calls))
        assert trainer.num_calls < 500


def test_a_blow_up_seen_by_the_probe_is_undone_at_once() -> None:
    """A jump far backwards is rejected and the state is, bit for bit, what it was before the call."""
    problem, records = teacher(norm=True), list[Record]()
    trainer = trainer_with(problem, Overshoot(-10.0), records)
    reach(problem, trainer, Phase.PREDICT)
    before, updates = state_of(problem), trainer.num_updates
    result = trainer.step(problem.batch(trainer.num_calls))
    assert not result.was_predicted
    assert_same(state_of(problem), before)
    assert trainer.num_updates == updates
    assert trainer.phase is Phase.FULL
    jump = next(record for record in records if isinstance(record, JumpRecord))
    assert jump.verdict == "rejected"
    assert jump.loss_before == result.loss


def test_a_jump_that_leaves_the_band_is_rolled_back_with_its_steps() -> None:
    """What the probe let through and CORRECT refuses is undone with the C steps after it, bit for bit."""
    problem, records = teacher(norm=True), list[Record]()
    trainer = trainer_with(problem, Overshoot(-10.0), records, max_rise_frac=10.0, band_sigmas=0.5)
    reach(problem, trainer, Phase.PREDICT)
    before, updates = state_of(problem), trainer.num_updates
    assert trainer.step(problem.batch(trainer.num_calls)).was_predicted
    assert trainer.phase is Phase.CORRECT
    watch = trainer._c.correct
    assert watch.jump is not None
    watch.jump = dataclasses.replace(watch.jump, allowance=0.0)  # opened wide for the probe, judged without it
    for _ in range(3):
        trainer.step(problem.batch(trainer.num_calls))
    assert_same(state_of(problem), before)
    assert trainer.num_updates == updates
    assert trainer.phase is Phase.FULL
    counters = trainer.summary()["counters"]
    assert (counters["jumps_rolled_back"], counters["updates_rolled_back"]) == (1, 3)
    assert any(isinstance(record, EventRecord) and record.name == "jump_rolled_back" for record in records)


def test_repeated_rejections_pause_the_jumps() -> None:
    """After five rejections in a row no jump is tried for ten cycles."""
    problem, records = teacher(), list[Record]()
    trainer = trainer_with(problem, Overshoot(-10.0), records)
    problem.run(trainer, 170)
    steps = [record.step for record in records if isinstance(record, JumpRecord)]
    assert len(steps) >= 5
    assert steps[4] - steps[0] == 40
    assert len(steps) == 5 or steps[5] - steps[4] >= 110


def test_rolling_back_helps_where_a_jump_did_harm() -> None:
    """With the guards (probe and band) a run with a harmful predictor ends near the plain loss, without them above."""
    losses: dict[str, float] = {}
    for name, probe in (("guarded", {}), ("open", {"max_rise_frac": 10.0, "band_sigmas": 50.0})):
        problem = teacher()
        trainer = trainer_with(problem, Overshoot(-10.0), [], **probe)
        losses[name] = sum(problem.run(trainer, 160)[-20:]) / 20
    plain = teacher()
    losses["plain"] = sum(plain.run(plain.trainer(predictor="none"), 160)[-20:]) / 20
    assert losses["guarded"] < 1.2 * losses["plain"]
    assert losses["open"] > 1.5 * losses["guarded"]
