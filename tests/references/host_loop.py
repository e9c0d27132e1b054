"""A training loop of a user's own, with or without jumps attached to its optimizer."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from references.problems import Problem, teacher
from references.records import events_of

import hpt
from hpt import HybridConfig, HybridTrainer, Jumps, Phase
from hpt.records import JumpRecord, Record

SETTINGS: dict[str, Any] = {
    "predictor": "nesterov",
    "total_steps": 200,
    "full_steps": 10,
    "warmup_steps": 20,
    "gate": "always",
    "predict": {"window_start_frac": 0.0, "window_end_frac": 1.0},
}
"""A jump after every tenth update from the thirtieth on."""
K = 10


class Loop:
    """A loop over the batches of a problem.

    Args:
        problem: what is trained.
        optimizers: in the order of their steps; None: the problem's.
        parts: micro-batches in an update.
        observes: losses are shown to the jumps, if there are any.

    Attributes:
        jumps: None: a plain loop.
        records: of the jumps.
        before_step: called with the number of the update (from 1) when its gradients are there.
        after_step: called with it after the step, before anything else.
    """

    def __init__(
        self,
        problem: Problem | None = None,
        optimizers: Sequence[torch.optim.Optimizer] | None = None,
        *,
        parts: int = 1,
        observes: bool = True,
    ) -> None:
        self.problem = teacher() if problem is None else problem
        self.optimizers = [self.problem.optimizer] if optimizers is None else list(optimizers)
        self.parts, self.observes = parts, observes
        self.jumps: Jumps | None = None
        self.records: list[Record] = []
        self.num_updates = self.num_batches = 0
        self.before_step: Callable[[int], object] = lambda _: None
        self.after_step: Callable[[int], object] = lambda _: None

    def attach(self, probed: Callable[[], float] | None = None, *, names: bool = True, **settings: Any) -> "Loop":
        """With jumps from now on."""
        given = self.optimizers if len(self.optimizers) > 1 else self.optimizers[0]
        config = HybridConfig.from_dict(SETTINGS | settings)
        model = self.problem.model if names else None
        self.jumps = hpt.attach(given, config, model=model, probe=probed, sink=self.records.append)
        return self

    def show(self, loss: torch.Tensor) -> None:
        """To the jumps."""
        if self.jumps is not None and self.observes:
            self.jumps.observe(loss)

    def micro_batch(self) -> None:
        """Forward and backward on the next one."""
        loss = self.problem.loss_fn(self.problem.model, self.problem.batch(self.num_batches)) / self.parts
        self.num_batches += 1
        loss.backward()
        self.show(loss)

    def update(self) -> None:
        """The optimizers step once, and the schedule with them."""
        while self.num_batches % self.parts or self.num_batches // self.parts == self.num_updates:
            self.micro_batch()
        self.num_updates += 1
        self.before_step(self.num_updates)
        for one in self.optimizers:
            one.step()
        self.after_step(self.num_updates)
        for one in self.optimizers:
            one.zero_grad()
        if self.problem.scheduler is not None:
            self.problem.scheduler.step()

    def run(self, until: int) -> "Loop":
        """So many updates altogether."""
        while self.num_updates < until:
            self.update()
        return self

    @property
    def jumped(self) -> list[int]:
        """Updates after which there was a jump that was kept."""
        return [one.step for one in self.records if isinstance(one, JumpRecord) and one.verdict == "accepted"]

    @property
    def events(self) -> list[str]:
        """Names of what happened."""
        return [one.name for one in events_of(self.records)]


def trainer_on_the_same(problem: Problem, updates: int, parts: int = 1, **settings: Any) -> HybridTrainer:
    """`HybridTrainer` over the very batches of such a loop; what it consumes for a jump is not one of them."""
    wide: dict[str, Any] = {"probe": {"max_rise_frac": 10.0, "band_sigmas": 50.0}, "value": {"fork_budget_frac": 0.0}}
    wide["update"] = {"accumulation_steps": parts}
    trainer = problem.trainer(None, None, **SETTINGS | wide | settings)
    num_batches = 0
    while trainer.num_updates < updates:
        if trainer.phase is Phase.PREDICT:
            trainer.step(problem.batch(10**6))
            continue
        trainer.step(problem.batch(num_batches))
        num_batches += 1
    return trainer
