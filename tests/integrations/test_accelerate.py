"""`hpt.attach` in a loop of accelerate, against the same loop by hand."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator, debug_launcher
from accelerate.state import AcceleratorState, GradientState
from references.examples import jumps_told_by
from references.same import assert_same
from references.tiny_fits import (
    CONFIG,
    Batch,
    Weights,
    adamw,
    batches,
    by_hand,
    loss_of,
    network,
    num_skipped,
    overflowing_scaler,
    plain,
    weights_of,
)
from torch.utils.data import DataLoader, TensorDataset

import hpt
from hpt import Jumps
from hpt.errors import ModelError, UsageError


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """An Accelerator's settings are those of the process, until they are forgotten."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def by_accelerate(
    accelerator: Accelerator,
    data: list[Batch],
    *,
    autocast: torch.dtype | None = None,
    load: Path | None = None,
    save: Path | None = None,
    registers: bool = False,
    **options: Any,
) -> tuple[Weights, Jumps]:
    """The loop that accelerate's documentation shows, and `hpt.attach` in it; options are of AdamW."""
    model = network()
    examples = TensorDataset(*(torch.cat(parts) for parts in zip(*data, strict=True)))
    module, optimizer, loader = accelerator.prepare(
        model, adamw(model, **options), DataLoader(examples, batch_size=len(data[0][0]))
    )
    jumps = hpt.attach(optimizer.optimizer, CONFIG, model=model)
    if registers:
        accelerator.register_for_checkpointing(jumps)
    if load is not None:
        accelerator.load_state(str(load))
    for batch in loader:
        with accelerator.accumulate(module):
            with torch.autocast("cpu", autocast, enabled=autocast is not None):
                loss = loss_of(module, batch)
            accelerator.backward(loss)
            jumps.observe(loss / accelerator.gradient_accumulation_steps)
            optimizer.step()
            optimizer.zero_grad()
        if accelerator.sync_gradients:
            jumps.begin_update()
    if save is not None:
        accelerator.save_state(str(save))
    return weights_of(model), jumps


def test_an_accelerate_loop_ends_in_the_weights_of_the_loop_by_hand() -> None:
    """Attached to the optimizer inside accelerate's."""
    weights, jumps = by_accelerate(Accelerator(cpu=True), batches())
    expected, by_loop = plain()
    assert by_loop.summary()["jumps_accepted"] > 10
    assert jumps.summary() == by_loop.summary()
    assert_same(weights, expected)


def test_accumulated_micro_batches_are_one_update_and_their_losses_are_added() -> None:
    """`accelerator.backward` divides the loss, so it is shown divided; the loader's end makes the last update."""
    weights, jumps = by_accelerate(Accelerator(cpu=True, gradient_accumulation_steps=4), batches(402))
    expected, by_loop = by_hand(batches(402), accumulate=4)
    assert by_loop.summary()["num_updates"] == 101
    assert jumps.summary() == by_loop.summary()
    assert_same(weights, expected)


def test_bf16_autocast_ends_in_the_weights_of_the_loop_by_hand() -> None:
    """mixed_precision="bf16" leaves the weights in 32 bits, and jumps move these."""
    weights, jumps = by_accelerate(Accelerator(cpu=True, mixed_precision="bf16"), batches())
    expected, by_loop = by_hand(batches(), autocast=torch.bfloat16)
    assert by_loop.summary()["jumps_accepted"] > 10
    assert jumps.summary() == by_loop.summary()
    assert_same(weights, expected)


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_steps_that_a_scaler_skips_are_no_updates_and_their_losses_count_for_none(*, fused: bool) -> None:
    """The scaler is accelerate's own on a GPU; on a CPU it is put there."""
    accelerator, scaler = Accelerator(cpu=True), overflowing_scaler()
    accelerator.scaler = scaler
    weights, jumps = by_accelerate(accelerator, batches(), autocast=torch.half, fused=fused)
    expected, by_loop = by_hand(batches(), autocast=torch.half, scaler=overflowing_scaler(), fused=fused)
    assert num_skipped(scaler) > 2
    assert jumps.summary()["num_updates"] == 300 - num_skipped(scaler)
    assert_same(jumps.state_dict()["content"][1:], by_loop.state_dict()["content"][1:])
    assert_same(weights, expected)


@pytest.mark.parametrize("registers", [False, True], ids=["optimizer", "registered"])
def test_save_state_and_load_state_resume_bit_for_bit(tmp_path: Path, *, registers: bool) -> None:
    """What jumps need rides with the optimizer's state; registered besides, it is loaded twice, to the same end."""
    by_accelerate(Accelerator(cpu=True), batches()[:155], save=tmp_path, registers=registers)
    again = Accelerator(cpu=True)
    weights, jumps = by_accelerate(again, batches()[155:], load=tmp_path, registers=registers)
    expected, by_loop = plain()
    assert jumps.summary() == by_loop.summary()
    assert_same(weights, expected)


def test_the_optimizer_of_accelerate_is_refused_with_the_one_inside_named() -> None:
    """It is a torch.optim.Optimizer, whose own step has no hooks."""
    model = network()
    _, optimizer = Accelerator(cpu=True).prepare(model, adamw(model))
    with pytest.raises(ModelError, match=r"AcceleratedOptimizer wraps another.*pass the one inside, \.optimizer"):
        hpt.attach(optimizer, CONFIG, model=model)


def test_two_attaches_are_refused() -> None:
    """Before `prepare` and after it, it is the same optimizer."""
    model = network()
    inside = adamw(model)
    hpt.attach(inside, CONFIG, model=model)
    _, optimizer = Accelerator(cpu=True).prepare(model, inside)
    with pytest.raises(UsageError, match="attached to this optimizer already"):
        hpt.attach(optimizer.optimizer, CONFIG, model=model)


def _train(folder: str) -> None:
    accelerator = Accelerator(cpu=True)
    weights, jumps = by_accelerate(accelerator, batches())
    ending = {"weights": weights, "summary": jumps.summary()}
    torch.save(ending, Path(folder) / f"{accelerator.process_index}.pt")


def test_two_processes_end_with_the_same_weights(tmp_path: Path) -> None:
    """Accelerate deals the batches out to them, and they jump together."""
    debug_launcher(_train, (str(tmp_path),), num_processes=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2))
    assert first["summary"]["num_updates"] == 150
    assert first["summary"]["jumps_accepted"] > 5
    assert first["summary"] == second["summary"]
    assert_same(first["weights"], second["weights"])


def test_the_example_jumps() -> None:
    """As it is, with the settings that it has."""
    assert jumps_told_by("accelerate_loop") > 10
