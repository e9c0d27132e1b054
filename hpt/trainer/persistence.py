"""The whole state of a trainer as one tree, saved and loaded so that the run continues bit for bit.

A snapshot is stored only while a jump may still be undone or a fork or roll-out is open; otherwise it equals the state
it would be taken from, and is taken again after loading.
"""

import random
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hpt.errors import CheckpointError, DiskError
from hpt.learned.facts import CycleFacts
from hpt.numerics.rng import set_torch_rng_state, torch_rng_state
from hpt.predictors.protocol import Proposal
from hpt.records import Phase
from hpt.trainer.checkpoint import read_checkpoint, write_checkpoint
from hpt.trainer.fork import Fork, ForkPlan
from hpt.trainer.parts import Parts
from hpt.trainer.rollout import Rollout
from hpt.trainer.snapshot import Snapshot

_SCALARS = (
    "num_calls",
    "max_lr",
    "steps_since_jump",
    "horizon_factor",
    "confidence",
    "skips_in_row",
    "rollbacks",
    "retry_left",
    "update_batches",
    "advised",
)


def save(parts: Parts, path: Path) -> None:
    """Write the whole state to `path`, atomically.

    Raises:
        DiskError: no space, or the folder cannot be written.
        CheckpointError: a part of the state (a kept batch, say) cannot be stored.
    """
    write_checkpoint(path, state_of(parts))


def load(parts: Parts, path: Path) -> None:
    """Continue from `path`.

    Raises:
        CheckpointError: damaged, of a newer schema, or of another predictor or model.
    """
    restore(parts, read_checkpoint(path), str(path))


def save_when_due(parts: Parts, phase: Phase) -> None:
    """An automatic checkpoint every `save_interval` net updates; a failing one is recorded and training goes on."""
    step = parts.controller.step
    due = parts.folder is not None and step > 0 and step % parts.config.checkpoint.save_interval == 0
    if due and step != parts.moving.saved_at and not parts.full.accumulating:
        parts.ledger.begin()
        save_now(parts)
        parts.ledger.extend(phase)
        parts.moving.saved_at = step


def save_now(parts: Parts) -> str | None:
    """Write a checkpoint into the run's folder; returns its path, None if that failed (and is recorded)."""
    assert parts.folder is not None, "no checkpoint folder is set"
    try:
        report = parts.folder.save(state_of(parts), parts.moving.num_calls)
    except (DiskError, CheckpointError, OSError) as error:
        parts.event("checkpoint_failed", f"{error}; training goes on, the last one is {parts.moving.last_checkpoint}")
        return None
    finally:
        parts.ledger.lap("checkpoint")
    parts.moving.last_checkpoint = str(report.path)
    _report_time(parts)
    return str(report.path)


def _report_time(parts: Parts) -> None:
    """Once per run: say so when checkpoints take more than their share of the time."""
    spent_s, limit = parts.ledger.part_s["checkpoint"], parts.config.checkpoint.max_time_frac
    total_s = sum(parts.ledger.part_s.values())
    if not parts.moving.slow_checkpoints and parts.moving.num_calls > 100 and spent_s > limit * total_s:
        parts.moving.slow_checkpoints = True
        parts.event(
            "checkpoints_slow",
            f"checkpoints took {spent_s / total_s:.0%} of the time; raise checkpoint.save_interval",
            time_frac=spent_s / total_s,
        )


def state_of(parts: Parts) -> dict[str, Any]:
    """Everything needed to continue: training state, random streams, every collaborator, what is in flight."""
    moving = parts.moving
    kept = not parts.plain and (parts.correct.in_doubt or moving.rollout is not None)
    return {
        "predictor": parts.config.predictor,
        "cycle_steps": parts.config.cycle_steps,
        "training": _training(parts),
        "rng": _rng_state(),
        "parts": {name: part.state_dict() for name, part in parts.stateful()},
        "moving": {name: getattr(moving, name) for name in _SCALARS},
        "proposal": None if moving.proposal is None else asdict(moving.proposal),
        "facts": None if moving.facts is None else asdict(moving.facts),
        "rollout": None if moving.rollout is None else moving.rollout.state_dict(),
        "snapshot": _training_at(parts, moving.snapshot) if kept and moving.snapshot is not None else None,
        "fork": None if moving.fork is None else _fork_state(parts, moving.fork),
    }


def restore(parts: Parts, state: Mapping[str, Any], where: str) -> None:
    """Inverse of `state_of`.

    Raises:
        CheckpointError: the state is of another predictor, cycle or model.
    """
    for name, mine in (("predictor", parts.config.predictor), ("cycle_steps", parts.config.cycle_steps)):
        if state.get(name) != mine:
            raise CheckpointError(
                f"{where} was made with {name} {state.get(name)!r}, this trainer has {mine!r}; "
                "build the trainer with the settings of the run"
            )
    try:
        _restore_parts(parts, state)
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{where} does not fit this model or optimizer ({reason}); use the run's own") from error


def _restore_parts(parts: Parts, state: Mapping[str, Any]) -> None:
    moving = parts.moving
    for name in _SCALARS:
        setattr(moving, name, state["moving"][name])
    if state["fork"] is not None:
        _load_training(parts, state["fork"]["jumped"])
        moving.fork = _fork_from(parts, state["fork"])
    moving.snapshot = None
    if state["snapshot"] is not None:
        _load_training(parts, state["snapshot"])
        parts.take_snapshot()
    _load_training(parts, state["training"])
    if moving.snapshot is None and not parts.plain:
        parts.take_snapshot()
    for name, part in parts.stateful():
        part.load_state_dict(state["parts"][name])
    moving.proposal = None if state["proposal"] is None else _proposal_from(state["proposal"])
    moving.facts = None if state["facts"] is None else CycleFacts(**_facts_from(state["facts"]))
    moving.rollout = None if state["rollout"] is None else Rollout.from_state(state["rollout"])
    _set_rng_state(state["rng"])


def _training(parts: Parts) -> dict[str, Any]:
    """Model, optimizer, scheduler, loss scale; tensors by reference."""
    return {
        "model": dict(parts.model.state_dict()),
        "optimizer": parts.optimizer.state_dict(),
        "scheduler": None if parts.scheduler is None else _plain_state(parts.scheduler.state_dict()),
        "precision": parts.precision.state_dict(),
    }


def _plain_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """A scheduler's state without what only its own construction can give (functions, the optimizer)."""
    return {key: value for key, value in state.items() if not callable(value) and key != "optimizer"}


def _training_at(parts: Parts, snapshot: Snapshot) -> dict[str, Any]:
    """The training state a snapshot holds, as copies: go there, copy, and come back."""
    now = Snapshot.take(parts.model, parts.optimizer, parts.scheduler, parts.precision.scaler)
    snapshot.restore()
    try:
        return _cloned(_training(parts))
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


def _load_training(parts: Parts, state: Mapping[str, Any]) -> None:
    parts.model.load_state_dict(state["model"])
    parts.optimizer.load_state_dict(state["optimizer"])
    if parts.scheduler is not None and state["scheduler"] is not None:
        parts.scheduler.load_state_dict({**parts.scheduler.state_dict(), **state["scheduler"]})
    parts.precision.load_state_dict(state["precision"])


def _fork_state(parts: Parts, fork: Fork) -> dict[str, Any]:
    return {
        "plan": asdict(fork.plan),
        "rng": fork.rng,
        "batches": fork.batches,
        "losses": list(fork.losses),
        "jumped": _training_at(parts, fork.jumped),
    }


def _fork_from(parts: Parts, state: Mapping[str, Any]) -> Fork:
    """The fork whose jumped state is in the model right now."""
    jumped = Snapshot.take(parts.model, parts.optimizer, parts.scheduler, parts.precision.scaler)
    fork = Fork(ForkPlan(**state["plan"]), parts.config.fork, jumped, state["rng"])
    fork.batches = _moved(list(state["batches"]), parts.device)
    fork.losses = [float(loss) for loss in state["losses"]]
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
    values: dict[str, Any] = {**state, "group_factors": tuple(state["group_factors"])}
    return Proposal(**values)


def _facts_from(state: Mapping[str, Any]) -> dict[str, Any]:
    return {**state, "scales": tuple(state["scales"])}


def _rng_state() -> dict[str, Any]:
    """Torch on every device, and Python's and numpy's global streams, which a user's data pipeline may use."""
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002 (kept, never drawn from)
    return {"torch": torch_rng_state(), "python": random.getstate(), "numpy": numpy_state}


def _set_rng_state(state: Mapping[str, Any]) -> None:
    set_torch_rng_state(state["torch"])
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(state["numpy"])  # noqa: NPY002
