"""Jumps in `transformers.Trainer`.

    trainer = Trainer(model, args, train_dataset=data)
    jumps = add_jumps(trainer)
    trainer.train()

Two methods of the instance are wrapped: `create_optimizer`, since train() calls it with the number of updates known and
before it loads a checkpoint into the optimizer; and `training_step`, which returns the loss of a micro-batch as it was
back-propagated: over the tokens of the whole update, or divided by the number of its micro-batches. Hence the losses of
an update add up to the loss of its batch. A callback would come too late for the first and does not see the second.

What is stored rides in the checkpoint's optimizer.pt, which loads without hpt as well.
"""

from typing import Any

import torch
from accelerate.optimizer import AcceleratedOptimizer
from transformers import Trainer

from hpt.config import HybridConfig
from hpt.errors import ModelError, UsageError
from hpt.hooks.hosted import HostProbe
from hpt.hooks.jumps import Jumps
from hpt.hooks.state import total_steps_of
from hpt.records import Sink

_WRAPPED = ("create_optimizer", "training_step")


def add_jumps(
    trainer: Trainer, config: HybridConfig | None = None, *, probe: HostProbe | None = None, sink: Sink | None = None
) -> Jumps:
    """Let the weights jump that this trainer trains; call it before `trainer.train()`, which then stays as it is.

    Every train() is a run of its own, and goes on with the jumps of the checkpoint that it resumes from, if there are
    any. Under DistributedDataParallel every process calls this, and all jump alike.

    Args:
        trainer: not in train() yet.
        config: settings; None: `predictor="prior"`. The learned predictors judge jumps by a forecast of the loss, which
            only a `probe` makes use of: without one they jump to the same bits. `total_steps` is the trainer's where
            it is None; of a run that goes on, the one that it began with.
        probe: see `hpt.attach`.
        sink: receives records, in every process; None discards them.

    Raises:
        UsageError: training has begun, or this trainer has jumps.
        ModelError: the optimizer cannot be attached to, or the weights are in pieces (DeepSpeed, FSDP); of an optimizer
            that the trainer makes itself, train() raises it.
        ConfigError: a setting is the trainer's to decide.
    """
    _check(trainer)
    return TrainerJumps(trainer, config, probe, sink)


class TrainerJumps(Jumps):
    """What `add_jumps` returns; `detach` takes it off the trainer as well.

    Args: see `add_jumps`.
    """

    def __init__(
        self, trainer: Trainer, config: HybridConfig | None, probe: HostProbe | None, sink: Sink | None
    ) -> None:
        super().__init__(None, config, probe=probe, sink=sink)
        self._trainer: Any = trainer
        self._is_planned = config is not None and config.total_steps is not None
        self._starts_run = self._starts_update = True
        if trainer.optimizer is not None:
            self._attach()
        self._theirs = {name: getattr(trainer, name) for name in _WRAPPED}
        for name in _WRAPPED:
            setattr(trainer, name, getattr(self, name))

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """The trainer's own, then hooks on what it made."""
        made = self._theirs["create_optimizer"](*args, **kwargs)
        self._attach()
        return made

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The trainer's own, then its loss is shown."""
        if self._starts_run and not self._is_planned:
            self._plan()
        self._starts_run = False
        loss = self._theirs["training_step"](*args, **kwargs)
        if self._starts_update:
            self.begin_update()  # a scaler may have left out the step before, unseen by the optimizer
        self.observe(loss)
        self._starts_update = self._trainer.accelerator.sync_gradients  # this was the last micro-batch of its update
        return loss

    def detach(self) -> None:
        """Take the hooks off, and give the trainer its methods back."""
        super().detach()
        for name, theirs in self._theirs.items():
            setattr(self._trainer, name, theirs)

    def _attach(self) -> None:
        trainer = self._trainer
        self.attach_to(_inner(trainer.optimizer), trainer.accelerator.unwrap_model(trainer.model))
        self._starts_run = self._starts_update = True

    def _plan(self) -> None:
        """A checkpoint is loaded by now: its plan counts; else the updates that are left."""
        stored, progress = self.state_dict(), self._trainer.state
        total = total_steps_of(stored) if stored["content"] else progress.max_steps - progress.global_step
        if total is not None:
            self.set_total_steps(total)


def _check(trainer: Trainer) -> None:
    if isinstance(getattr(trainer.training_step, "__self__", None), TrainerJumps):
        raise UsageError("this trainer has jumps already; call detach() on those first")
    if trainer.is_in_train and trainer.optimizer is not None:
        raise UsageError(
            "trainer.train() has made its optimizer and loaded its checkpoint by now; call add_jumps(trainer) "
            "before train(), not in a callback"
        )
    for name, is_on in (("DeepSpeed", trainer.is_deepspeed_enabled), ("FSDP", trainer.is_fsdp_enabled)):
        if is_on:
            raise ModelError(
                f"{name} keeps the weights in pieces, which jumps cannot move; train with DistributedDataParallel, "
                "or without hpt"
            )


def _inner(optimizer: Any) -> torch.optim.Optimizer:
    """The optimizer of torch inside accelerate's, which a second train() still has."""
    return optimizer.optimizer if isinstance(optimizer, AcceleratedOptimizer) else optimizer
