"""`hpt.attach` in a loop of Lightning Fabric, against the same loop by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision
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

import hpt
from hpt import Jumps
from hpt.errors import ModelError, UsageError


def fabric(**options: Any) -> Fabric:
    return Fabric(accelerator="cpu", **options)


def by_fabric(
    fabric: Fabric,
    data: list[Batch],
    *,
    accumulate: int = 1,
    load: Path | None = None,
    save: Path | None = None,
    **options: Any,
) -> tuple[Weights, Jumps]:
    """The loop that Fabric's documentation shows, and `hpt.attach` in it; options are of AdamW."""
    model = network()
    module, optimizer = fabric.setup(model, adamw(model, **options))
    jumps = hpt.attach(optimizer.optimizer, CONFIG, model=model)
    state = {"model": module, "optimizer": optimizer}
    if load is not None:
        fabric.load(load, state)
    for number, batch in enumerate(data, start=1):
        is_last = number % accumulate == 0
        with fabric.no_backward_sync(module, enabled=not is_last):
            loss = loss_of(module, batch) / accumulate
            fabric.backward(loss)
        jumps.observe(loss)
        if is_last:
            optimizer.step()
            optimizer.zero_grad()
            jumps.begin_update()
    if save is not None:
        fabric.save(save, state)
    return weights_of(model), jumps


def test_a_fabric_loop_ends_in_the_weights_of_the_loop_by_hand() -> None:
    """Attached to the optimizer inside Fabric's."""
    weights, jumps = by_fabric(fabric(), batches())
    expected, by_loop = plain()
    assert by_loop.summary()["jumps_accepted"] > 10
    assert jumps.summary() == by_loop.summary()
    assert_same(weights, expected)


def test_accumulated_micro_batches_are_one_update_and_their_losses_are_added() -> None:
    """The loop divides the loss itself."""
    weights, jumps = by_fabric(fabric(), batches(400), accumulate=4)
    expected, by_loop = by_hand(batches(400), accumulate=4)
    assert by_loop.summary()["num_updates"] == 100
    assert jumps.summary() == by_loop.summary()
    assert_same(weights, expected)


def test_bf16_autocast_ends_in_the_weights_of_the_loop_by_hand() -> None:
    """precision="bf16-mixed" leaves the weights in 32 bits, and jumps move these."""
    weights, jumps = by_fabric(fabric(precision="bf16-mixed"), batches())
    expected, by_loop = by_hand(batches(), autocast=torch.bfloat16)
    assert by_loop.summary()["jumps_accepted"] > 10
    assert jumps.summary() == by_loop.summary()
    assert_same(weights, expected)


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_steps_that_a_scaler_skips_are_no_updates(*, fused: bool) -> None:
    """Fabric scales the loss inside `backward`, so the loop shows it as it is."""
    scaler = overflowing_scaler()
    precision: Any = MixedPrecision("16-mixed", "cpu", scaler)
    _, jumps = by_fabric(fabric(plugins=[precision]), batches(), fused=fused)
    assert num_skipped(scaler) > 2
    assert jumps.summary()["num_updates"] == 300 - num_skipped(scaler)
    assert jumps.summary()["jumps_accepted"] > 10


def test_fabrics_own_checkpoint_resumes_bit_for_bit(tmp_path: Path) -> None:
    """Model and optimizer are all that is stored; saved within a cycle."""
    by_fabric(fabric(), batches()[:155], save=tmp_path / "some.ckpt")
    weights, jumps = by_fabric(fabric(), batches()[155:], load=tmp_path / "some.ckpt")
    expected, by_loop = plain()
    assert jumps.summary() == by_loop.summary()
    assert_same(weights, expected)


def test_the_optimizer_of_fabric_is_refused_with_the_one_inside_named() -> None:
    """Its class imitates the one that it wraps."""
    model = network()
    _, optimizer = fabric().setup(model, adamw(model))
    with pytest.raises(ModelError, match=r"FabricAdamW wraps another.*pass the one inside, \.optimizer"):
        hpt.attach(optimizer, CONFIG, model=model)


def test_two_attaches_are_refused() -> None:
    """Before Fabric's set-up and after it, it is the same optimizer."""
    model = network()
    inside = adamw(model)
    hpt.attach(inside, CONFIG, model=model)
    _, optimizer = fabric().setup(model, inside)
    with pytest.raises(UsageError, match="attached to this optimizer already"):
        hpt.attach(optimizer.optimizer, CONFIG, model=model)


def test_two_processes_end_with_the_same_weights(tmp_path: Path) -> None:
    """They train on different batches, and jump together."""

    def train(fabric: Fabric) -> None:
        weights, jumps = by_fabric(fabric, batches(150, seed=fabric.global_rank))
        torch.save({"weights": weights, "summary": jumps.summary()}, tmp_path / f"{fabric.global_rank}.pt")

    fabric(strategy="ddp_fork", devices=2).launch(train)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2))
    assert first["summary"]["jumps_accepted"] > 5
    assert first["summary"] == second["summary"]
    assert_same(first["weights"], second["weights"])


def test_the_example_jumps() -> None:
    """As it is, with the settings that it has."""
    assert jumps_told_by("fabric_loop") > 10
