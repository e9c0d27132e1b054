"""The whole state of a trainer as one tree, saved and loaded so that the run continues bit for bit.

A snapshot is stored only while a jump may still be undone; otherwise the loaded state takes its place, and a rollback
goes no further back.
"""

import random
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hpt.errors import CheckpointError, DiskError
from hpt.jump.delta import WeightDelta
from hpt.jump.snapshot import Snapshot
from hpt.jump.stats import CycleStats
from hpt.numerics.rng import set_torch_rng_state, torch_rng_state
from hpt.predictors.protocol import Proposal
from hpt.records import Phase
from hpt.trainer.checkpoint_file import read_checkpoint, write_checkpoint
from hpt.trainer.components import Components
from hpt.trainer.fork import Fork, ForkPlan
from hpt.trainer.pending import read

_SCALARS = (
    "num_calls",
    "horizon_factor",
    "confidence",
    "skips_in_row",
    "rollbacks",
    "retry_left",
    "update_batches",
)
MAX_TIME_FRAC = 0.05
"""Share of the wall time above which checkpoints are called slow."""


def save(c: Components, path: Path) -> None:
    """Write the whole state to `path`, atomically.

    Raises:
        DiskError: no space, or the folder cannot be written.
        CheckpointError: a part of the state (a kept batch, say) cannot be stored.
    """
    write_checkpoint(path, state_of(c))


def load(c: Components, path: Path) -> None:
    """Continue from `path`.

    Raises:
        CheckpointError: damaged, of a newer schema, or of another predictor or model.
    """
    restore(c, read_checkpoint(path), str(path))


def is_due(c: Components) -> bool:
    """An automatic checkpoint is due: `save_interval` net updates after the last, between two updates."""
    step = c.controller.step
    on_interval = c.folder is not None and step > 0 and step % c.config.checkpoint.save_interval == 0
    return on_interval and step != c.state.saved_at and not c.full.accumulating


def save_due(c: Components, phase: Phase) -> None:
    """The automatic checkpoint; one that fails is recorded and training goes on."""
    c.ledger.begin()
    save_now(c)
    c.ledger.extend(phase)
    c.state.saved_at = c.controller.step


def save_now(c: Components) -> str | None:
    """Write a checkpoint into the run's folder; returns its path, None if that failed (and is recorded)."""
    assert c.folder is not None, "no checkpoint folder is set"
    try:
        report = c.folder.save(state_of(c), c.state.num_calls)
    except (DiskError, CheckpointError, OSError) as error:
        c.event("checkpoint_failed", f"{error}; training goes on, the last one is {c.state.last_checkpoint}")
        return None
    finally:
        c.ledger.lap("checkpoint")
    c.state.last_checkpoint = str(report.path)
    _report_time(c)
    return str(report.path)


def _report_time(c: Components) -> None:
    """Once per run: say so when checkpoints take more than their share of the time."""
    spent_s, limit = c.ledger.part_s["checkpoint"], MAX_TIME_FRAC
    total_s = sum(c.ledger.part_s.values())
    if not c.state.slow_checkpoints and c.state.num_calls > 100 and spent_s > limit * total_s:
        c.state.slow_checkpoints = True
        c.event(
            "checkpoints_slow",
            f"checkpoints took {spent_s / total_s:.0%} of the time; raise checkpoint.save_interval",
            time_frac=spent_s / total_s,
        )


def state_of(c: Components) -> dict[str, Any]:
    """Everything needed to continue: training state, random streams, every collaborator, what is in flight."""
    state = c.state
    snapshot = None
    if not c.is_baseline:
        read(c)
        snapshot = c.outer.snapshot if c.correct.in_doubt else None
    return {
        "config": c.config.to_dict(),
        "predictor": c.config.predictor,
        "cycle_steps": c.config.cycle_steps,
        "training": _training(c),
        "rng": _rng_state(),
        "components": {name: part.state_dict() for name, part in c.stateful()},
        "state": {name: getattr(state, name) for name in _SCALARS},
        "proposal": None if state.proposal is None else asdict(state.proposal),
        "stats": None if state.stats is None else asdict(state.stats),
        "snapshot": None if snapshot is None else _training_at(c, snapshot),
        "fork": None if state.fork is None else _fork_state(c, state.fork),
    }


def restore(c: Components, state: Mapping[str, Any], where: str) -> None:
    """Inverse of `state_of`.

    Raises:
        CheckpointError: the state is of another predictor, cycle or model.
    """
    for name, mine in (("predictor", c.config.predictor), ("cycle_steps", c.config.cycle_steps)):
        if state.get(name) != mine:
            raise CheckpointError(
                f"{where} was made with {name} {state.get(name)!r}, this trainer has {mine!r}; "
                "build the trainer with the settings of the run"
            )
    try:
        _restore_components(c, state)
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{where} does not fit this model or optimizer ({reason}); use the run's own") from error


def _restore_components(c: Components, state: Mapping[str, Any]) -> None:
    for name in _SCALARS:
        setattr(c.state, name, state["state"][name])
    c.state.fork = None
    if state["fork"] is not None:
        _load_training(c, state["fork"]["jumped"])
        c.state.fork = _fork_from(c, state["fork"])
    snapshot = None
    if state["snapshot"] is not None:
        _load_training(c, state["snapshot"])
        snapshot = c.present()
    _load_training(c, state["training"])
    for name, part in c.stateful():
        part.load_state_dict(state["components"][name])
    if not c.is_baseline:
        c.readings.clear()
        c.outer.snapshot = snapshot
        if snapshot is None:
            c.outer.take_snapshot()
    c.state.proposal = None if state["proposal"] is None else _proposal_from(state["proposal"])
    c.state.stats = None if state["stats"] is None else CycleStats(**state["stats"])
    _set_rng_state(state["rng"])


def _training(c: Components) -> dict[str, Any]:
    """Model, what the optimizer holds beyond it, optimizer, scheduler, loss scale; tensors by reference."""
    return {
        "model": dict(c.model.state_dict()),
        "beyond_model": [one.detach() for one in c.parameters.beyond_model],
        "optimizer": c.optimizer.state_dict(),
        "scheduler": None if c.scheduler is None else _plain_state(c.scheduler.state_dict()),
        "precision": c.precision.state_dict(),
    }


def _plain_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """A scheduler's state without what only its own construction can give (functions, the optimizer)."""
    return {key: value for key, value in state.items() if not callable(value) and key != "optimizer"}


def _training_at(c: Components, snapshot: Snapshot) -> dict[str, Any]:
    """The training state a snapshot holds, as copies: go there, copy, and come back."""
    now = c.present()
    snapshot.restore()
    try:
        return _cloned(_training(c))
    finally:
        now.restore()


def _cloned(state: Any) -> Any:
    if isinstance(state, torch.Tensor):
        return state.detach().clone()
    if isinstance(state, Mapping):
        return {key: _cloned(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(_cloned(value) for value in state)
    return state


def _load_training(c: Components, state: Mapping[str, Any]) -> None:
    c.model.load_state_dict(state["model"])
    for mine, saved in zip(c.parameters.beyond_model, state["beyond_model"], strict=True):
        mine.data.copy_(saved)
    c.optimizer.load_state_dict(state["optimizer"])
    if c.scheduler is not None and state["scheduler"] is not None:
        c.scheduler.load_state_dict({**c.scheduler.state_dict(), **state["scheduler"]})
    c.precision.load_state_dict(state["precision"])


def _fork_state(c: Components, fork: Fork) -> dict[str, Any]:
    return {
        "plan": asdict(fork.plan),
        "rng": fork.rng,
        "batches": fork.batches,
        "num_steps": fork.num_steps,
        "jumped": _training_at(c, fork.jumped),
    }


def _fork_from(c: Components, state: Mapping[str, Any]) -> Fork:
    """The fork whose jumped state is in the model right now."""
    fork = Fork(ForkPlan(**state["plan"]), c.config.fork.steps, c.present(), state["rng"])
    fork.batches = _moved(list(state["batches"]), c.device)
    fork.num_steps = int(state["num_steps"])
    return fork


def _moved(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: _moved(value, device) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return type(batch)(_moved(value, device) for value in batch)
    return batch


def _proposal_from(state: Mapping[str, Any]) -> Proposal:
    values: dict[str, Any] = {**state, "delta": WeightDelta(**state["delta"])}
    return Proposal(**values)


def _rng_state() -> dict[str, Any]:
    """Torch on every device, and Python's and numpy's global streams, which a user's data pipeline may use."""
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002 (kept, never drawn from)
    return {"torch": torch_rng_state(), "python": random.getstate(), "numpy": numpy_state}


def _set_rng_state(state: Mapping[str, Any]) -> None:
    set_torch_rng_state(state["torch"])
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(state["numpy"])  # noqa: NPY002
