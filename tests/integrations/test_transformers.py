"""`add_jumps` against the real Trainer, on the CPU."""

import os
import re
import runpy
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from references.tiny_trainer import BATCH, EARLY, NUM_ROWS, NUM_UPDATES, UPDATES_AN_EPOCH, model, rows, trainer, weights
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM, Trainer, TrainerCallback
from transformers.optimization import Adafactor

import hpt
from hpt import Jumps, ModelError, UsageError
from hpt.hooks.jumps import STATE_KEY
from hpt.hooks.state import total_steps_of
from hpt.integrations.transformers import add_jumps

ROOT = Path(__file__).parents[2]
REFERENCES = ROOT / "tests" / "references"


def run_by_hand(
    make: Callable[[list[dict[str, Any]]], torch.optim.Optimizer], autocast: AbstractContextManager[Any]
) -> tuple[torch.Tensor, Jumps]:
    """What the Trainer does with `tiny_trainer.arguments`, written out, and `hpt.attach`."""
    network, data = model(), rows()
    matrices = [one for one in network.parameters() if one.ndim == 2]
    vectors = [one for one in network.parameters() if one.ndim == 1]
    optimizer = make([{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: (NUM_UPDATES - done) / NUM_UPDATES)
    jumps = hpt.attach(optimizer, replace(EARLY, total_steps=NUM_UPDATES), model=network)
    for update in range(NUM_UPDATES):
        first = update % UPDATES_AN_EPOCH * BATCH
        words = torch.stack([row["input_ids"] for row in data[first : first + BATCH]])
        with autocast:
            loss = network(input_ids=words, labels=words, num_items_in_batch=words[:, 1:].numel()).loss
        loss.backward()
        jumps.observe(loss)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        network.zero_grad()
    return weights(network), jumps


@pytest.mark.parametrize(
    ("make", "autocast", "changes"),
    [
        (lambda groups: torch.optim.AdamW(groups, lr=1e-2), nullcontext(), {}),
        (
            lambda groups: Adafactor(groups, lr=1e-2, scale_parameter=False, relative_step=False),
            nullcontext(),
            {"optim": "adafactor"},
        ),
        (lambda groups: torch.optim.AdamW(groups, lr=1e-2), torch.autocast("cpu", torch.bfloat16), {"bf16": True}),
    ],
    ids=["adamw", "adafactor", "bf16"],
)
def test_the_weights_are_those_of_the_same_loop_written_by_hand(
    make: Any, autocast: Any, changes: dict[str, Any], tmp_path: Path
) -> None:
    """They jump, and are bit for bit those of `hpt.attach` in a loop that does what the Trainer does."""
    run = trainer(tmp_path, **changes)
    jumps = add_jumps(run, EARLY)
    run.train()
    expected, by_hand = run_by_hand(make, autocast)
    assert jumps.summary()["jumps_accepted"] == by_hand.summary()["jumps_accepted"] > 5
    assert torch.equal(weights(run.model), expected)


def test_what_is_learned_from_losses_changes_no_jump_without_a_probe(tmp_path: Path) -> None:
    """Hence the default has no learned predictor: the weights are the same bits without its cost."""
    ended: list[torch.Tensor] = []
    for predictor in ("prior", "rssm"):
        run = trainer(tmp_path)
        jumps = add_jumps(run, replace(EARLY, predictor=predictor))
        run.train()
        assert jumps.summary()["jumps_accepted"] > 5
        ended.append(weights(run.model))
    assert torch.equal(*ended)
    assert add_jumps(trainer(tmp_path)).summary()["predictor"] == "prior"


def padded_rows() -> list[dict[str, torch.Tensor]]:
    """Rows of which a different number of words counts."""
    data = rows()
    for place, row in enumerate(data):
        row["labels"][: place % 5] = -100
    return data


class MeanOfBatch(torch.nn.Module):
    """A model that gives the mean of its micro-batch, and knows nothing of the others of the update."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(32, 32)

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": cross_entropy(self.table(input_ids[:, :-1]).flatten(0, 1), labels[:, 1:].flatten())}


@pytest.mark.parametrize("network", [model, MeanOfBatch])
def test_losses_of_an_update_are_the_loss_of_its_batch(network: Callable[[], torch.nn.Module], tmp_path: Path) -> None:
    """Accumulated: the mean over the update's tokens, or over its micro-batches; of an epoch's short last one too."""
    data = padded_rows()
    run = trainer(
        tmp_path,
        network(),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=3,
        max_steps=11,
        learning_rate=0.0,
    )
    run.train_dataset = cast("Any", data)
    jumps = add_jumps(run, replace(EARLY, full_steps=30))
    run.train()
    assert jumps._run is not None
    observed = [float(torch.as_tensor(row)[0]) for row in jumps._run.readings.unread]
    with torch.no_grad():
        expected = [_loss_of(cast("Any", run.model), data[first : first + 6]) for first in range(0, NUM_ROWS, 6)]
    assert len(observed) == 11  # 32 micro-batches: ten updates of three, one of two
    assert observed == pytest.approx(expected, rel=1e-5)  # float32, sums in another order


def _loss_of(network: torch.nn.Module, batch: list[dict[str, torch.Tensor]]) -> float:
    """At rate 0 the weights are what they were."""
    parts = [batch] if isinstance(network, LlamaForCausalLM) else [batch[at : at + 2] for at in range(0, len(batch), 2)]
    stacked = [{name: torch.stack([row[name] for row in part]) for name in part[0]} for part in parts]
    return float(torch.stack([network(**part)["loss"] for part in stacked]).mean())


def test_two_processes_jump_alike(tmp_path: Path) -> None:
    """On the Trainer's shards, of which one alone would let nobody jump: other losses, equal jumps, equal weights."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    ranks = [
        subprocess.Popen(
            [sys.executable, str(REFERENCES / "trainer_rank.py"), str(tmp_path)],
            env={**shared, "RANK": rank, "LOCAL_RANK": rank, "PYTHONPATH": paths},
            stdout=subprocess.DEVNULL,
        )
        for rank in ("0", "1")
    ]
    assert [rank.wait() for rank in ranks] == [0, 0]
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert one["num_processes"] == 2
    assert one["num_jumps"] == other["num_jumps"] > 0
    assert len(one["losses"]) == 5
    assert (one["losses"] < other["losses"]).all()
    assert torch.equal(one["weights"], other["weights"])


def test_optimizer_and_schedule_of_the_users_own(tmp_path: Path) -> None:
    """An optimizer that was passed jumps too, and its schedule is stepped as ever."""
    network = model()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: 1.0 - done / NUM_UPDATES)
    base = trainer(tmp_path)
    run = Trainer(network, base.args, train_dataset=cast("Any", rows()), optimizers=(optimizer, schedule))
    jumps = add_jumps(run, EARLY)
    run.train()
    assert jumps.summary()["jumps_accepted"] > 0
    assert optimizer.param_groups[0]["lr"] == 0.0


def test_every_training_is_a_run_of_its_own(tmp_path: Path) -> None:
    """A model and an optimizer made anew for each: both trainings jump alike and end in the same bits."""
    base = trainer(tmp_path)
    run = Trainer(None, base.args, train_dataset=cast("Any", rows()), model_init=partial(model, 0.0))
    jumps = add_jumps(run, EARLY)
    ended: list[tuple[torch.Tensor, Any]] = []
    for _ in range(2):
        run.train()
        ended.append((weights(run.model), jumps.summary()))
    (first, told), (second, told_again) = ended
    assert told == told_again
    assert told["num_updates"] == NUM_UPDATES
    assert torch.equal(first, second)


@pytest.mark.parametrize(("given", "planned"), [(None, 2 * UPDATES_AN_EPOCH), (500, 500)])
def test_updates_are_planned_as_the_trainer_counts_them(given: int | None, planned: int, tmp_path: Path) -> None:
    """From epochs, too; the user's own number goes before."""
    run = trainer(tmp_path, max_steps=-1, num_train_epochs=2)
    jumps = add_jumps(run, replace(EARLY, total_steps=given))
    run.train()
    assert jumps.summary()["total_steps"] == total_steps_of(jumps.state_dict()) == planned


def test_detached_the_trainer_is_as_it_was(tmp_path: Path) -> None:
    """Its weights are those of a trainer that never had jumps, its checkpoints have nothing of them."""
    ended: list[torch.Tensor] = []
    for is_detached in (True, False):
        run = trainer(tmp_path, max_steps=60)
        if is_detached:
            add_jumps(run, EARLY).detach()
        run.train()
        assert STATE_KEY not in cast("torch.optim.Optimizer", run.optimizer).state_dict()
        ended.append(weights(run.model))
    assert torch.equal(*ended)


class Late(TrainerCallback):
    """Adds jumps when training begins, which is too late."""

    def __init__(self) -> None:
        self.trainer: Trainer | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        assert self.trainer is not None
        add_jumps(self.trainer)


def test_a_callback_is_told_that_it_is_too_late(tmp_path: Path) -> None:
    """The checkpoint is loaded by then."""
    run = trainer(tmp_path)
    late = Late()
    run.add_callback(late)
    late.trainer = run
    with pytest.raises(UsageError, match=r"call add_jumps\(trainer\) before train\(\), not in a callback"):
        run.train()


def test_jumps_are_added_once(tmp_path: Path) -> None:
    """And not to an optimizer that has some by `hpt.attach`."""
    run = trainer(tmp_path)
    add_jumps(run)
    with pytest.raises(UsageError, match="this trainer has jumps already"):
        add_jumps(run)
    network = model()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    jumps = hpt.attach(optimizer, model=network)
    other = Trainer(network, run.args, optimizers=(optimizer, None))
    with pytest.raises(UsageError, match="attached to this optimizer already"):
        add_jumps(other)
    jumps.detach()
    add_jumps(other)


@pytest.mark.parametrize("name", ["deepspeed", "fsdp"])
def test_weights_in_pieces_are_refused(name: str, tmp_path: Path) -> None:
    """By name, before anything is trained."""
    run = trainer(tmp_path)
    setattr(run, f"is_{name}_enabled", True)
    with pytest.raises(ModelError, match=r"(DeepSpeed|FSDP) keeps the weights in pieces"):
        add_jumps(run)


def test_an_optimizer_with_weights_of_its_own_is_refused(tmp_path: Path) -> None:
    """When the trainer makes it, before the first update."""
    run = trainer(tmp_path, optim="schedule_free_adamw", lr_scheduler_type="constant")
    add_jumps(run)
    with pytest.raises(ModelError, match="keeps weights of its own"):
        run.train()


def test_the_example_jumps(capsys: pytest.CaptureFixture[str]) -> None:
    """It runs in seconds as it stands, and says how often it jumped."""
    runpy.run_path(str(ROOT / "examples" / "transformers_trainer.py"))
    printed = capsys.readouterr().out
    found = re.search(r"^(\d+) updates, (\d+) jumps of", printed, re.MULTILINE)
    assert found is not None, printed
    assert int(found[1]) == 300
    assert int(found[2]) > 5
