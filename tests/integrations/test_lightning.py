"""`hpt.integrations.lightning`: jumps in a real Trainer, against the same loop by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.precision import MixedPrecision
from references.examples import jumps_told_by
from references.same import assert_same
from references.tiny_fits import (
    CONFIG,
    NUM_STEPS,
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
from torch.utils.data import DataLoader, IterableDataset

import hpt
from hpt import HybridConfig
from hpt.errors import ModelError, UsageError
from hpt.hooks.jumps import STATE_KEY
from hpt.integrations.lightning import Jumps

UNTOLD = HybridConfig(predictor="prior", full_steps=10, warmup_steps=40)
QUIET: dict[str, Any] = {
    **dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False),
    "max_epochs": 1,
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning"),
]


class Fit(LightningModule):
    """The network of `tiny_fits`."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.net = network()
        self.options = options

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return loss_of(self.net, batch)

    def configure_optimizers(self) -> Any:
        return adamw(self.net, **self.options)


class ManualFit(Fit):
    """The same, its loop written by the user."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss_of(self.net, batch))
        optimizer.step()


class TwoOptimizers(ManualFit):
    """One for each layer."""

    def configure_optimizers(self) -> Any:
        return adamw(self.net[0]), adamw(self.net[2])


class Unsized(IterableDataset[Any]):
    """Batches whose number nobody knows beforehand."""

    def __iter__(self) -> Any:
        return iter(batches(20))


class Stumble(Callback):
    """Raises at an update."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == 60:
            raise RuntimeError("stumbled")


class Told(Callback):
    """Writes what each process ends with."""

    def __init__(self, folder: Path, jumps: Jumps) -> None:
        self.folder, self.jumps = folder, jumps

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.last = batch[0]

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        ending = {"weights": weights_of(pl_module), "last": self.last, "summary": self.jumps.summary()}
        torch.save(ending, self.folder / f"{trainer.global_rank}.pt")


def loader(num: int = NUM_STEPS) -> Any:
    data: Any = batches(num)
    return DataLoader(data, batch_size=None)


def trainer(*callbacks: Callback, **options: Any) -> Trainer:
    return Trainer(accelerator="cpu", callbacks=list(callbacks), **{**QUIET, **options})


def has_hooks(optimizer: Any) -> bool:
    return bool(optimizer._optimizer_step_pre_hooks or optimizer._optimizer_state_dict_post_hooks)


def test_a_fit_ends_in_the_weights_of_the_loop_by_hand() -> None:
    """The same jumps at the same updates, hence the same bits."""
    jumps, model = Jumps(CONFIG), Fit()
    trainer(jumps).fit(model, loader())
    weights, by_loop = plain()
    assert by_loop.summary()["jumps_accepted"] > 10
    assert jumps.summary() == by_loop.summary()
    assert_same(weights_of(model), weights)


def test_manual_optimization_ends_in_the_weights_of_the_loop_by_hand() -> None:
    """There Lightning calls the step without a closure."""
    jumps, model = Jumps(CONFIG), ManualFit()
    trainer(jumps).fit(model, loader())
    weights, _ = plain()
    assert_same(weights_of(model), weights)


def test_accumulated_micro_batches_are_one_update_and_their_losses_are_added() -> None:
    """Lightning divides the loss before it is shown, as the loop by hand does; the last update has half of them."""
    jumps, model, data = Jumps(CONFIG), Fit(), 4 * 100 + 2
    trainer(jumps, accumulate_grad_batches=4).fit(model, loader(data))
    weights, by_loop = by_hand(batches(data), accumulate=4)
    assert by_loop.summary()["num_updates"] == 101
    assert jumps.summary() == by_loop.summary()
    assert_same(weights_of(model), weights)


def test_bf16_autocast_ends_in_the_weights_of_the_loop_by_hand() -> None:
    """precision="bf16-mixed" leaves the weights in 32 bits, and jumps move these."""
    jumps, model = Jumps(CONFIG), Fit()
    trainer(jumps, precision="bf16-mixed").fit(model, loader())
    weights, by_loop = by_hand(batches(), autocast=torch.bfloat16)
    assert by_loop.summary()["jumps_accepted"] > 10
    assert_same(weights_of(model), weights)


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_steps_that_a_scaler_skips_are_no_updates_and_their_losses_count_for_none(*, fused: bool) -> None:
    """What is shown is without the scaler's factor, so the engine's numbers are those of the loop by hand."""
    jumps, model, scaler = Jumps(CONFIG), Fit(fused=fused), overflowing_scaler()
    precision: Any = MixedPrecision("16-mixed", "cpu", scaler)
    lightning = trainer(jumps, plugins=[precision])
    lightning.fit(model, loader())
    weights, by_loop = by_hand(batches(), autocast=torch.half, scaler=overflowing_scaler(), fused=fused)
    assert num_skipped(scaler) > 2
    assert jumps.summary()["num_updates"] == lightning.global_step - num_skipped(scaler)
    assert jumps.jumps is not None
    assert_same(jumps.jumps.state_dict()["content"][1:], by_loop.state_dict()["content"][1:])
    assert_same(weights_of(model), weights)


def test_global_step_counts_updates() -> None:
    """Jumps are none."""
    jumps = Jumps(CONFIG)
    lightning = trainer(jumps)
    lightning.fit(Fit(), loader())
    assert jumps.summary()["jumps_accepted"] > 10
    assert lightning.global_step == jumps.summary()["num_updates"] == NUM_STEPS


@pytest.mark.parametrize(
    ("model", "data", "options", "total_steps"),
    [
        (Fit, 20, {"max_epochs": 3}, 60),
        (Fit, 20, {"max_epochs": 3, "accumulate_grad_batches": 8}, 9),
        (Fit, 20, {"max_epochs": 3, "max_steps": 31}, 31),
        (Fit, Unsized, {"max_epochs": 1}, None),
        (ManualFit, 20, {"max_epochs": 1}, None),
    ],
    ids=["epochs", "accumulation", "max_steps", "unsized", "manual"],
)
def test_total_steps_are_the_updates_that_the_fit_will_make(
    model: type[Fit], data: Any, options: dict[str, Any], total_steps: int | None
) -> None:
    """Where Lightning does not know them, or counts batches, they stay unknown."""
    jumps = Jumps(UNTOLD)
    lightning = trainer(jumps, **options)
    lightning.fit(model(), loader(data) if isinstance(data, int) else DataLoader(data(), batch_size=None))
    assert jumps.summary()["total_steps"] == total_steps
    assert total_steps in (None, lightning.global_step)


def test_a_fit_resumes_bit_for_bit_from_lightnings_own_checkpoint(tmp_path: Path) -> None:
    """Saved at the end of an epoch, within a cycle; read with weights_only."""
    fits = [(Fit(), Jumps(UNTOLD)) for _ in range(2)]
    for (model, jumps), saved in zip(fits, (None, tmp_path / "epoch=1.ckpt"), strict=True):
        saves = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
        fitting = trainer(jumps, saves, max_epochs=3, enable_checkpointing=True)
        fitting.fit(model, loader(105), ckpt_path=saved, weights_only=True)
    (whole, jumps), (resumed, jumps_after) = fits
    assert jumps.summary()["jumps_accepted"] > 10
    assert jumps_after.summary() == jumps.summary()
    assert_same(weights_of(resumed), weights_of(whole))


def test_a_fit_that_is_made_longer_goes_on_with_the_jumps_that_were_planned(tmp_path: Path) -> None:
    """max_epochs is 3 where 2 were planned: total_steps stay those that the jumps' state was made with."""
    saved = tmp_path / "end.ckpt"
    shorter, longer = trainer(Jumps(UNTOLD), max_epochs=2), Jumps(UNTOLD)
    shorter.fit(Fit(), loader(20))
    shorter.save_checkpoint(saved)
    trainer(longer, max_epochs=3).fit(Fit(), loader(20), ckpt_path=saved)
    assert longer.summary()["total_steps"] == 40
    assert longer.summary()["num_updates"] == 60


def test_a_checkpoint_without_jumps_is_resumed_with_those_that_the_rest_has_room_for(tmp_path: Path) -> None:
    """Of 60 updates 40 were made before: jumps know of 20."""
    saved, jumps = tmp_path / "end.ckpt", Jumps(UNTOLD)
    without = trainer(max_epochs=2)
    without.fit(Fit(), loader(20))
    without.save_checkpoint(saved)
    trainer(jumps, max_epochs=3).fit(Fit(), loader(20), ckpt_path=saved)
    assert jumps.summary()["total_steps"] == jumps.summary()["num_updates"] == 20


def test_a_checkpoint_saved_after_the_fit_has_the_state_of_jumps(tmp_path: Path) -> None:
    """By then the hooks are off the optimizer."""
    jumps = Jumps(CONFIG)
    lightning = trainer(jumps)
    lightning.fit(Fit(), loader(60))
    assert not has_hooks(lightning.optimizers[0])
    lightning.save_checkpoint(tmp_path / "end.ckpt")
    (saved,) = torch.load(tmp_path / "end.ckpt", weights_only=True)["optimizer_states"]
    assert jumps.jumps is not None
    assert_same(saved[STATE_KEY], jumps.jumps.state_dict())


def test_a_fit_that_raises_leaves_no_hooks_behind() -> None:
    """The next fit attaches anew."""
    jumps = Jumps(CONFIG)
    lightning = trainer(jumps, Stumble())
    with pytest.raises(RuntimeError, match="stumbled"):
        lightning.fit(Fit(), loader())
    assert not has_hooks(lightning.optimizers[0])


def test_several_optimizers_are_refused_with_what_to_call_instead() -> None:
    """Nobody but the module knows in which order they step."""
    with pytest.raises(UsageError, match=r"2 optimizers.*hpt\.attach\(self\.trainer\.optimizers, model=self\)"):
        trainer(Jumps()).fit(TwoOptimizers(), loader(2))


def test_two_callbacks_are_refused() -> None:
    """Each would let the same weights jump."""
    first, second = Jumps(), Jumps()
    lightning = trainer(first, second)
    with pytest.raises(UsageError, match="attached to this optimizer already"):
        lightning.fit(Fit(), loader(2))
    assert not has_hooks(lightning.optimizers[0])


def test_the_optimizer_that_a_module_sees_is_refused_with_the_one_inside_named() -> None:
    """`self.optimizers()` wraps it."""

    class Own(ManualFit):
        def on_train_start(self) -> None:
            hpt.attach(self.optimizers(), CONFIG, model=self)  # pyright: ignore[reportArgumentType]

    with pytest.raises(ModelError, match=r"LightningAdamW wraps another.*pass the one inside, \.optimizer"):
        trainer().fit(Own(), loader(2))


def test_two_processes_end_with_the_same_weights(tmp_path: Path) -> None:
    """They train on different batches, and jump together."""
    jumps = Jumps(CONFIG)
    trainer(jumps, Told(tmp_path, jumps), strategy="ddp_fork", devices=2).fit(Fit(), loader(2 * 150))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2))
    assert not torch.equal(first["last"], second["last"])
    assert first["summary"]["num_updates"] == 150
    assert first["summary"]["jumps_accepted"] > 5
    assert_same(first["weights"], second["weights"])
    assert first["summary"] == second["summary"]


def test_pytorch_lightning_takes_the_callback_of_its_own_module() -> None:
    """It refuses those of `lightning`, though both packages are one text."""
    import pytorch_lightning as pl

    from hpt.integrations import pytorch_lightning

    class Own(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return loss_of(self.net, batch)

        def configure_optimizers(self) -> Any:
            return adamw(self.net)

    own, fitted = pytorch_lightning.Jumps(CONFIG), Own()
    pl.Trainer(accelerator="cpu", callbacks=[own], **QUIET).fit(fitted, loader())
    weights, by_loop = plain()
    assert own.summary() == by_loop.summary()
    assert_same(weights_of(fitted), weights)


def test_the_example_jumps() -> None:
    """As it is, with the settings that it has."""
    assert jumps_told_by("lightning_trainer") > 10
