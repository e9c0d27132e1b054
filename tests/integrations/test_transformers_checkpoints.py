"""`add_jumps` and the Trainer's checkpoints."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from references.tiny_trainer import EARLY, NUM_UPDATES, UPDATES_AN_EPOCH, model, trainer, weights
from safetensors.torch import load_file
from transformers import Trainer, TrainerCallback

from hpt import Jumps
from hpt.hooks.jumps import STATE_KEY
from hpt.integrations.transformers import add_jumps

SAVED = (8 * UPDATES_AN_EPOCH, 8 * UPDATES_AN_EPOCH + 4)  # an epoch's end, and the middle of an epoch and of a cycle


class SaveAt(TrainerCallback):
    """Asks for a checkpoint after these updates, or the end after `stop`."""

    def __init__(self, *steps: int, stop: int | None = None) -> None:
        self.steps, self.stop = steps, stop

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_save = state.global_step in self.steps
        control.should_training_stop |= state.global_step == self.stop


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trainer, Jumps]:
    """A run with dropout and shuffled batches, its checkpoints at `SAVED`."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder, *_with_dropout(folder, None)


def _with_dropout(folder: Path, resume_from: Path | None, *, stop: int | None = None) -> tuple[Trainer, Jumps]:
    run = trainer(folder, model(dropout=0.1), train_sampling_strategy="random")
    run.add_callback(SaveAt(*SAVED, stop=stop))
    jumps = add_jumps(run, EARLY)
    run.train(resume_from_checkpoint=None if resume_from is None else str(resume_from))
    return run, jumps


def test_every_update_is_one_of_the_trainers_own(uninterrupted: tuple[Path, Trainer, Jumps]) -> None:
    """Adam has counted as many steps as the Trainer made, and the rate is at its schedule's end."""
    _, run, jumps = uninterrupted
    optimizer = cast("torch.optim.Optimizer", run.optimizer)
    assert {float(state["step"]) for state in optimizer.state.values()} == {NUM_UPDATES}
    assert run.state.global_step == jumps.summary()["num_updates"] == NUM_UPDATES
    assert optimizer.param_groups[0]["lr"] == 0.0


@pytest.mark.parametrize("step", SAVED)
def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(
    step: int, uninterrupted: tuple[Path, Trainer, Jumps], tmp_path: Path
) -> None:
    """In its weights and in its jumps, which go on; from an epoch's end, and amid an epoch and a cycle."""
    folder, whole, jumps = uninterrupted
    before, _ = _with_dropout(tmp_path, folder / f"checkpoint-{step}", stop=step + 1)
    resumed, again = _with_dropout(tmp_path, folder / f"checkpoint-{step}")
    assert not torch.equal(weights(before.model), weights(resumed.model))
    assert again.summary() == jumps.summary()
    assert torch.equal(weights(resumed.model), weights(whole.model))


def test_a_checkpoint_loads_in_a_program_without_hpt(
    uninterrupted: tuple[Path, Trainer, Jumps], tmp_path: Path
) -> None:
    """Into torch's AdamW, which then makes its next update."""
    program = tmp_path / "without_hpt.py"
    program.write_text(
        "import sys\n"
        "sys.modules['hpt'] = None\n"  # every import of it fails
        "import torch\n"
        "state = torch.load(sys.argv[1], weights_only=True)\n"
        "like = {place: one['exp_avg'] for place, one in state['state'].items()}\n"
        "new = {place: torch.nn.Parameter(torch.zeros_like(one)) for place, one in like.items()}\n"
        "groups = [{'params': [new[place] for place in one['params']]} for one in state['param_groups']]\n"
        "optimizer = torch.optim.AdamW(groups)\n"
        "optimizer.load_state_dict(state)\n"
        "for one in new.values():\n"
        "    one.grad = torch.ones_like(one)\n"
        "optimizer.step()\n"
        "print(*state, {float(one['step']) for one in optimizer.state.values()})\n"
    )
    stored = uninterrupted[0] / f"checkpoint-{SAVED[0]}" / "optimizer.pt"
    printed = subprocess.run(
        [sys.executable, str(program), str(stored)], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == f"state param_groups {STATE_KEY} {{{float(SAVED[0] + 1)}}}"


def test_a_run_without_jumps_may_go_on_with_them(tmp_path: Path) -> None:
    """They plan with the updates that are left, and what they save goes on with that plan."""
    plain = trainer(tmp_path, max_steps=20)
    plain.add_callback(SaveAt(20))
    plain.train()
    run = trainer(tmp_path)
    run.add_callback(SaveAt(110))
    jumps = add_jumps(run, replace(EARLY, warmup_steps=30))
    run.train(resume_from_checkpoint=True)
    assert (jumps.summary()["num_updates"], jumps.summary()["total_steps"]) == (100, 100)
    again = add_jumps(resumed := trainer(tmp_path, max_steps=130), replace(EARLY, warmup_steps=30))
    resumed.train(resume_from_checkpoint=True)
    assert (again.summary()["num_updates"], again.summary()["total_steps"]) == (110, 100)
    assert again.summary()["jumps_accepted"] >= jumps.summary()["jumps_accepted"] > 0


def test_the_best_model_is_loaded_at_the_end(tmp_path: Path) -> None:
    """Its weights are those of the checkpoint, whatever jumped after it."""
    every_40: dict[str, Any] = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 40, "save_steps": 40}
    rate = 0.1  # so high that the last is not the best
    run = trainer(tmp_path, **every_40, load_best_model_at_end=True, learning_rate=rate)
    jumps = add_jumps(run, EARLY)
    run.train()
    best = Path(cast("str", run.state.best_model_checkpoint))
    stored = load_file(best / "model.safetensors")
    assert jumps.summary()["jumps_accepted"] > 0
    assert best.name != f"checkpoint-{NUM_UPDATES}"
    assert all(torch.equal(one, stored[name]) for name, one in cast("Any", run.model).named_parameters())
