"""The phases of training on fake tensors, each with its peak.

    FULL       forward, backward, clipping; then the optimizer's update
    CYCLE      the end of a cycle: the displacement of one parameter at a time
    PREDICT    the jump, one parameter at a time, and a probe

The first update is not the peak: the optimizer's state appears in it, and some do work every so many updates only. So
it is repeated. The passes need no repetition: what the state adds to their peak is its size.
"""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from hpt.memory import tracking
from hpt.memory.allocators import allocator_of
from hpt.memory.fakes import fake_mode
from hpt.memory.prediction import Copies, Prediction
from hpt.memory.tracking import PhasePeak, Tracker
from hpt.optimizers.inner import InnerOptimizer
from hpt.optimizers.roles import FOLLOWED_AS_THEY_ARE, roles_of

UPDATES, UPDATES_OF_OTHERS = 2, 12
"""Until nothing new happens: torch's optimizers have no period, others renew preconditioners every tenth update."""
MICRO_BATCHES = 2
"""That are run of an update: the third is as the second, which finds the gradients of the first."""
FULL, CYCLE, PREDICT = "FULL", "CYCLE", "PREDICT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A training problem on fake tensors.

    Attributes:
        model: trained.
        optimizer: over its parameters.
        batch: of one micro-batch.
        loss: (model, batch) -> scalar.
        autocast: format of forward passes; None: none.
        probe_autocast: of the probe in PREDICT.
        clip_norm: None: no clipping.
        accumulation_steps: micro-batches an update.
        copies: None: the plain loop.
    """

    model: torch.nn.Module
    optimizer: InnerOptimizer
    batch: Any
    loss: Callable[[torch.nn.Module, Any], torch.Tensor]
    autocast: torch.dtype | None = None
    probe_autocast: torch.dtype | None = None
    clip_norm: float | None = None
    accumulation_steps: int = 1
    copies: Copies | None = None


@dataclass(frozen=True, slots=True)
class Peaks:
    """What one training problem needs.

    Attributes:
        phases: peak of each, in order.
        trajectory_bytes: of its two copies, wherever they are.
        snapshot_bytes: likewise.
    """

    phases: dict[str, PhasePeak]
    trajectory_bytes: int
    snapshot_bytes: int

    @property
    def largest(self) -> PhasePeak:
        """The phase that needs most."""
        return _higher(*self.phases.values())


def estimate_peaks(prepare: Callable[[], Training], *, for_cuda: bool) -> Peaks:
    """Peak bytes of each phase.

    Args:
        prepare: builds everything; called under fake tensors, so nothing is allocated.
        for_cuda: as on a GPU: sizes in its blocks, and what operators need inside there.
    """
    with _on_host(), fake_mode():
        return _Run(prepare(), Tracker(allocator_of("cuda" if for_cuda else "cpu"))).peaks()


class _Run:
    """One training problem and who follows it."""

    def __init__(self, training: Training, tracker: Tracker) -> None:
        self._training, self._tracker = training, tracker
        self._trained = [one for one in training.optimizer.parameters if one.requires_grad]

    def peaks(self) -> Peaks:
        """Run everything once."""
        training, tracker = self._training, self._tracker
        model, optimizer = training.model, training.optimizer
        tracker.count_as(tracking.WEIGHTS, (*model.parameters(), *model.buffers(), *self._trained))
        tracker.count_as(tracking.OPTIMIZER, optimizer.state_tensors())
        tracker.count_as(tracking.ACTIVATIONS, _tensors(training.batch))
        with self._gradients_followed(), tracker:
            kept = None if training.copies is None else self._prediction(training.copies)
            before = Counter(tracker.held(tracking.OPTIMIZER))
            passes, update = self._passes(), self._updates()
            state = Counter(tracker.held(tracking.OPTIMIZER))
            state.subtract(before)
            full = _higher(passes.plus(state), update)
            if kept is None:
                return Peaks({FULL: full}, 0, 0)
            training_state = [*self._trained, *model.buffers(), *optimizer.state_tensors()]
            kept.take_snapshot(training_state, [*model.buffers()], _tensors(training.batch))
            full = full.plus(tracker.held(tracking.SNAPSHOT))
            tracker.take_peak()
            phases = {FULL: full, CYCLE: self._peak_of(kept.end_cycle), PREDICT: self._peak_of(kept.jump, self._probe)}
            return Peaks(phases, kept.trajectory_bytes, kept.snapshot_bytes)

    def _prediction(self, copies: Copies) -> Prediction:
        roles = roles_of(self._training.model)
        as_they_are = [one for one, role in roles.items() if role in FOLLOWED_AS_THEY_ARE]
        return Prediction(copies, self._trained, as_they_are, self._tracker)

    def _peak_of(self, *parts: Callable[[], None]) -> PhasePeak:
        for part in parts:
            part()
        return self._tracker.take_peak()

    def _passes(self) -> PhasePeak:
        """Forward and backward of every micro-batch of an update, and clipping."""
        training, tracker = self._training, self._tracker
        training.optimizer.zero_grad()
        tracker.take_peak()
        for _ in range(min(training.accumulation_steps, MICRO_BATCHES)):
            with tracker.making(tracking.ACTIVATIONS), _autocast(training.autocast):
                loss = training.loss(training.model, training.batch)
            (loss if training.accumulation_steps == 1 else loss / training.accumulation_steps).backward()
        if training.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._trained, training.clip_norm)
        return tracker.take_peak()

    def _updates(self) -> PhasePeak:
        """The highest peak of an update, all state being there."""
        optimizer = self._training.optimizer
        found: list[PhasePeak] = []
        for _ in range(max(map(_num_updates, optimizer.each))):
            for one in optimizer.each:
                one.step()
            self._tracker.count_as(tracking.OPTIMIZER, optimizer.state_tensors())
            found.append(self._tracker.take_peak())
        return _higher(*found[1:])

    @torch.no_grad()
    def _probe(self) -> None:
        """The loss on a copy of the batch, without a graph."""
        training, tracker = self._training, self._tracker
        with tracker.making(tracking.ACTIVATIONS), _autocast(training.probe_autocast):
            _copies = [one.clone() for one in _tensors(training.batch)]
            training.loss(training.model, training.batch)

    @contextmanager
    def _gradients_followed(self) -> Generator[None]:
        """Inside, what a parameter accumulates counts as its gradient."""

        def note(parameter: torch.Tensor) -> None:
            self._tracker.count_as(tracking.GRADIENTS, [] if parameter.grad is None else [parameter.grad])

        hooks = [one.register_post_accumulate_grad_hook(note) for one in self._trained]
        try:
            yield
        finally:
            for one in hooks:
                one.remove()


def _on_host() -> AbstractContextManager[Any]:
    """Whatever the caller's default device is; where that is the host, torch is spared asking at every call."""
    host = torch.device("cpu")
    return nullcontext() if torch.get_default_device() == host else host


def _higher(*peaks: PhasePeak) -> PhasePeak:
    return max(peaks, key=lambda one: one.peak_bytes)


def _tensors(batch: Any) -> list[torch.Tensor]:
    return [one for one in tree_leaves(batch) if isinstance(one, torch.Tensor)]


def _num_updates(optimizer: torch.optim.Optimizer) -> int:
    is_known = type(optimizer).__module__.startswith(("torch.optim.", "hpt."))
    return UPDATES if is_known else UPDATES_OF_OTHERS


def _autocast(dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    return nullcontext() if dtype is None else torch.autocast("cpu", dtype=dtype)
