"""What only a GPU can show: nothing waits for it in a full step, and a run on it is the run on the CPU."""

from pathlib import Path
from typing import Any

import pytest
import torch
from references.problems import Problem, teacher, weights_of

import hpt
from hpt import HybridConfig, HybridTrainer, Phase
from hpt.jump.policy import POLICIES

pytestmark = pytest.mark.cuda
STEPS = 120
PREDICTORS = ["none", "nesterov", "rssm", "prior"]
ALWAYS: dict[str, Any] = {"gate": "always", "predict": {"window_start_frac": 0.0, "window_end_frac": 1.0}}


def on_cuda(problem: Problem) -> Problem:
    """The same problem with weights and batches on the GPU; before any state of its optimizer exists."""
    problem.model.cuda()
    batch = problem.batch
    problem.batch = lambda index: tuple(one.cuda() for one in batch(index))
    return problem


def doubled(problem: Problem) -> Problem:
    """In double precision, so that the order of a sum decides nothing."""
    problem.model.double()
    batch = problem.batch
    problem.batch = lambda index: tuple(one.double() for one in batch(index))
    return problem


@pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning")
@pytest.mark.parametrize("predictor", PREDICTORS)
@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_full_step_never_waits_for_the_gpu(predictor: str, clip_norm: float | None) -> None:
    """Torch raises on every synchronization, between the first step of a cycle and its last."""
    problem = on_cuda(teacher())
    trainer = problem.trainer(predictor=predictor, update={"clip_norm": clip_norm, "observe": "cycle"}, **ALWAYS)
    batches = [problem.batch(index) for index in range(STEPS)]
    checked = 0
    while trainer.num_updates < STEPS - 20:
        inside = trainer.phase is Phase.FULL and 0 < trainer.num_updates % 10 < 8
        torch.cuda.set_sync_debug_mode("error" if inside else "default")
        try:
            trainer.step(batches[trainer.num_calls])
        finally:
            torch.cuda.set_sync_debug_mode("default")
        checked += inside
    assert checked >= 20


@pytest.mark.parametrize("predictor", PREDICTORS)
@pytest.mark.parametrize("placement", ["device", "host"])
def test_a_run_on_the_gpu_is_the_run_on_the_cpu(predictor: str, placement: str) -> None:
    """Losses, jumps and weights, in double precision."""
    found: list[tuple[list[float], torch.Tensor, int]] = []
    for place in (doubled, lambda one: on_cuda(doubled(one))):
        problem = place(teacher())
        trainer = problem.trainer(predictor=predictor, trajectory={"device": placement}, **ALWAYS)
        losses = problem.run(trainer, STEPS)
        found.append((losses, weights_of(problem.model).cpu(), trainer.summary()["counters"]["jumps_accepted"]))
    (losses, weights, jumps), (gpu_losses, gpu_weights, gpu_jumps) = found
    assert gpu_losses == pytest.approx(losses, rel=1e-6)
    torch.testing.assert_close(gpu_weights, weights, rtol=1e-6, atol=1e-9)
    assert gpu_jumps == jumps
    assert jumps > 0 or predictor != "nesterov"


@pytest.mark.parametrize(("placement", "is_pinned"), [("device", False), ("host", True), ("auto", True)])
def test_the_snapshot_lies_where_the_trajectory_does(placement: str, *, is_pinned: bool) -> None:
    """On the GPU when that is asked for; else pinned on the host, and nothing of either on the GPU."""
    problem = on_cuda(teacher())
    trainer = problem.trainer(trajectory={"device": placement})
    problem.run(trainer, 35)
    outer, first = trainer.outer, next(problem.model.parameters())
    assert outer.snapshot is not None
    assert outer.snapshot.kept(first).is_pinned() == is_pinned
    assert outer.snapshot.kept(first).is_cuda != is_pinned
    assert outer.trajectory.device_nbytes == (0 if is_pinned else outer.trajectory.nbytes)


@pytest.mark.parametrize("policy", list(POLICIES))
def test_every_policy_jumps_on_the_gpu_as_on_the_cpu(policy: str) -> None:
    """Gains, kept norms and orthogonal factors, in double precision."""
    found: list[torch.Tensor] = []
    for place in (doubled, lambda one: on_cuda(doubled(one))):
        problem = place(teacher())
        problem.run(problem.trainer(predict=ALWAYS["predict"] | {"policy": policy}, gate="always"), STEPS)
        found.append(weights_of(problem.model).cpu())
    torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("predictor", ["nesterov", "rssm"])
def test_a_checkpoint_goes_on_bit_by_bit(predictor: str, tmp_path: Path) -> None:
    """Dropout on the GPU draws from its own stream, which is part of the checkpoint."""

    def made() -> tuple[Problem, HybridTrainer]:
        problem = on_cuda(teacher(dropout=0.1))
        return problem, problem.trainer(predictor=predictor, **ALWAYS)

    problem, trainer = made()
    problem.run(trainer, 57)
    trainer.save(tmp_path / "point")
    expected = problem.run(trainer, STEPS)
    other, resumed = made()
    torch.cuda.manual_seed_all(7)
    resumed.load(tmp_path / "point")
    assert other.run(resumed, STEPS) == expected
    assert torch.equal(weights_of(other.model), weights_of(problem.model))


@pytest.mark.parametrize("fused", [False, True])
def test_a_scalers_skipped_steps_are_not_counted_by_attached_jumps(*, fused: bool) -> None:
    """fp16 under autocast: the scale is too large at first, and the fused optimizer skips by itself."""
    problem = on_cuda(teacher())
    optimizer = torch.optim.AdamW(problem.model.parameters(), lr=3e-3, fused=fused)
    values = {"predictor": "prior", "total_steps": STEPS, "full_steps": 10, "warmup_steps": 20}
    jumps = hpt.attach(optimizer, HybridConfig.from_dict(values))
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**40)
    skipped = 0
    for index in range(STEPS):
        with torch.autocast("cuda", torch.float16):
            loss = problem.loss_fn(problem.model, problem.batch(index))
        before = scaler.get_scale()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        skipped += scaler.get_scale() < before
    assert skipped > 0
    assert jumps.summary()["num_updates"] == STEPS - skipped


def test_out_of_memory_is_survived_by_smaller_batches() -> None:
    """Half of all memory may be used, and the first update wants more than that."""
    problem = on_cuda(teacher())
    free = torch.cuda.mem_get_info()[1]
    loss_fn, calls = problem.loss_fn, 0

    def loss(model: torch.nn.Module, batch: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 5:
            torch.empty(2 * free, dtype=torch.uint8, device="cuda")
        return loss_fn(model, batch)

    problem.loss_fn = loss
    trainer = problem.trainer()
    losses = problem.run(trainer, STEPS)
    assert losses[-1] < losses[0]
    assert trainer.num_updates == STEPS
