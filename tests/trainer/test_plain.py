"""The plain loop: `predictor="none"` is what a user would have written, bit for bit."""

import pytest
import torch
from references.problems import Problem, teacher, weights_of


def hand_written(problem: Problem, updates: int, clip: float | None, parts: int) -> list[float]:
    """The loop as a user writes it."""
    losses: list[float] = []
    index = 0
    for _ in range(updates):
        problem.optimizer.zero_grad()
        for _ in range(parts):
            loss = problem.loss_fn(problem.model, problem.batch(index))
            (loss if parts == 1 else loss / parts).backward()
            losses.append(float(loss.detach()))
            index += 1
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(problem.model.parameters(), clip)
        problem.optimizer.step()
        assert problem.scheduler is not None
        problem.scheduler.step()
    return losses


@pytest.mark.parametrize(("clip", "parts"), [(None, 1), (0.5, 1), (0.5, 3)])
@pytest.mark.parametrize("predictor", ["none", "nesterov"])
def test_full_steps_equal_the_hand_written_loop(predictor: str, clip: float | None, parts: int) -> None:
    """Losses, weights and the random stream agree bit for bit, with guards off and (before any jump) on."""
    ours, theirs = teacher(dropout=0.2), teacher(dropout=0.2)
    update = {"accumulation_steps": parts} | ({"clip_norm": clip} if clip else {})
    trainer = ours.trainer(predictor=predictor, warmup_steps=200, update=update)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(5)
        expected = hand_written(theirs, 60, clip, parts)
        stream = torch.get_rng_state()
        torch.default_generator.manual_seed(5)
        results = [trainer.step(ours.batch(index)) for index in range(60 * parts)]
        assert torch.equal(torch.get_rng_state(), stream)
    if parts == 1:
        assert [result.loss for result in results] == expected
    assert trainer.num_updates == 60
    for mine, other in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert weights_of(ours.model).isfinite().all()


def test_plain_run_reports_one_backward_a_call_and_no_jump() -> None:
    """Without a predictor every call is a full step and the counters say so."""
    problem = teacher()
    trainer = problem.trainer(predictor="none")
    problem.run(trainer, 40)
    counters = trainer.summary()["counters"]
    assert (counters["forwards"], counters["backwards"], counters["optimizer_updates"]) == (40, 40, 40)
    assert counters["jumps_proposed"] == 0
    assert trainer.summary()["phases"] == {"WARMUP": 0, "FULL": 40, "PREDICT": 0, "CORRECT": 0}
