"""The whole state of a trainer as one tree, saved and loaded so that the run continues bit for bit.

A snapshot is stored only while a jump may still be undone; otherwise the loaded state takes its place, and a rollback
goes no further back.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from hpt.errors import CheckpointError
from hpt.jump.delta import WeightDelta
from hpt.jump.snapshot import Snapshot
from hpt.jump.stats import CycleStats
from hpt.numerics.containers import mapped
from hpt.numerics.rng import set_stream_states, stream_states
from hpt.numerics.shards import is_dtensor
from hpt.predictors.protocol import ForkRequest, Proposal
from hpt.records import Phase
from hpt.trainer.checkpoint_file import read_checkpoint, write_checkpoint
from hpt.trainer.codec import check
from hpt.trainer.components import Components
from hpt.trainer.fork import Fork, ForkPlan, PathCopy, Place
from hpt.trainer.own_state import load_batches, load_update, own_of_all, own_state, with_own
from hpt.trainer.pending import read
from hpt.trainer.training_state import load_training, misfits, training_state

_SCALARS = (
    "num_calls",
    "horizon_factor",
    "confidence",
    "skips_in_row",
    "rollbacks",
    "retry_left",
)
MAX_TIME_FRAC = 0.05
"""Share of the wall time above which checkpoints are called slow."""


def save(c: Components, path: Path) -> None:
    """Write the whole state to `path`, atomically; of several processes, which all must call it, the first writes.

    Raises:
        DiskError: no space, or the folder cannot be written.
        CheckpointError: a part of the state cannot be stored; a kept batch that cannot is left out.
    """
    _check_whole(c)
    state = state_of(c)
    c.together.once(lambda: write_checkpoint(path, state))


def load(c: Components, path: Path) -> None:
    """Continue from `path`.

    Raises:
        CheckpointError: damaged, of another schema, or of another predictor or model; nothing has changed then.
    """
    restore(c, read_checkpoint(path), str(path))


def check_storable(c: Components) -> None:
    """A run that is to write checkpoints can: its training state is of types that a file holds.

    Raises:
        CheckpointError: names what is not.
    """
    if c.folder is None:
        return
    _check_whole(c)
    try:
        check(training_state(c))
    except CheckpointError as error:
        raise CheckpointError(f"{error}; or leave checkpoint.dir empty") from error


def _check_whole(c: Components) -> None:
    if any(map(is_dtensor, c.parameters.every)):
        raise CheckpointError(
            "weights lie in pieces (DTensor), which one file cannot hold; leave checkpoint.dir empty and store the "
            'trainer by torch.distributed.checkpoint.save({"trainer": trainer}, checkpoint_id=folder) in all processes'
        )


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
    folder, num_calls = c.folder, c.state.num_calls
    try:
        state = state_of(c)
        report = c.together.once(lambda: folder.save(state, num_calls))
    except Exception as error:  # noqa: BLE001 (a user's state_dict may raise anything)
        c.ledger.counters.checkpoints_failed += 1
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
    if c.state.num_calls > 100 and spent_s > limit * total_s:
        c.event_once(
            "checkpoints_slow",
            f"checkpoints took {spent_s / total_s:.0%} of the time; raise checkpoint.save_interval",
            time_frac=spent_s / total_s,
        )


def state_of(c: Components) -> dict[str, Any]:
    """Everything needed to continue: training state, random streams, every collaborator, what is in flight."""
    lasting, state, snapshot, own = lasting_state(c), c.state, None, own_state(c)
    if not c.is_baseline:
        snapshot = c.outer.snapshot if c.correct.in_doubt else None
    whole = {
        **lasting,
        "snapshot": None if snapshot is None else _training_at(c, snapshot),
        "fork": None if state.fork is None else _fork_state(c, state.fork),
        "has_update": True,
    }
    if c.together.are_several:
        return {**whole, "by_process": own_of_all(c, own)}
    return with_own(whole, own)


def lasting_state(c: Components) -> dict[str, Any]:
    """All of it but a fork, batches, and what a jump in doubt would be undone to; `restore` takes this, too."""
    if not c.is_baseline:
        read(c)
    state = c.state
    return {
        "config": c.config.to_dict(),
        "predictor": c.config.predictor,
        "cycle_steps": c.config.cycle_steps,
        "device": c.device.type,
        "training": training_state(c),
        "rng": c.together.all_of(stream_states()),
        "components": {name: part.state_dict() for name, part in c.stateful()},
        "state": {name: getattr(state, name) for name in _SCALARS},
        "proposal": None if state.proposal is None else asdict(state.proposal),
        "stats": None if state.stats is None else asdict(state.stats),
        "snapshot": None,
        "fork": None,
        "probe_batches": [],
        "update_batches": None,
        "update": None,
        "has_update": False,
        "by_process": [],
    }


def restore(c: Components, state: Mapping[str, Any], where: str) -> None:
    """Inverse of `state_of`: all of it, or nothing.

    Raises:
        CheckpointError: the state is of another predictor, cycle, model or optimizer; nothing has changed then.
    """
    for name, mine in (("predictor", c.config.predictor), ("cycle_steps", c.config.cycle_steps)):
        if state.get(name) != mine:
            raise CheckpointError(
                f"{where} was made with {name} {state.get(name)!r}, this trainer has {mine!r}; "
                "build the trainer with the settings of the run"
            )
    refused = misfits(c, state["training"])
    if refused:
        raise _refusal(where, "; ".join(refused))
    put_back = _as_now(c)
    try:
        _restore(c, state)
    except BaseException as error:
        put_back()
        if not isinstance(error, Exception):
            raise
        raise _refusal(where, f"{type(error).__name__}: {' '.join(str(error).split())}") from error


def _refusal(where: str, reason: str) -> CheckpointError:
    return CheckpointError(f"{where} does not fit this model or optimizer: {reason}; use the run's own")


def _as_now(c: Components) -> Callable[[], None]:
    """Takes the trainer back to where it is now, also from half-way through a restore."""
    if not c.is_baseline:
        read(c)
    training, rng, pending = mapped(torch.clone, training_state(c)), stream_states(), c.full.pending
    parts = {name: copy.deepcopy(part.state_dict()) for name, part in c.stateful()}
    state, snapshot = copy.copy(c.state), None if c.is_baseline else c.outer.snapshot
    recent = None if c.is_baseline else c.probe.recent.copy()

    def put_back() -> None:
        load_training(c, training)
        for name, part in c.stateful():
            part.load_state_dict(parts[name])
        for field in fields(state):
            setattr(c.state, field.name, getattr(state, field.name))
        c.full.pending = pending
        if recent is not None:
            c.outer.snapshot = snapshot
            c.probe.recent = recent
        set_stream_states(rng)

    return put_back


def _restore(c: Components, state: Mapping[str, Any]) -> None:
    by_process: list[dict[str, Any]] = state.get("by_process", [])
    if len(by_process) == c.together.num_processes:
        state = with_own(state, by_process[c.together.rank])
    for name in _SCALARS:
        setattr(c.state, name, state["state"][name])
    c.state.fork = None
    if state["fork"] is not None:
        load_training(c, state["fork"]["training"])
        c.state.fork = _fork_from(c, state["fork"])
    snapshot = None
    if state["snapshot"] is not None:
        load_training(c, state["snapshot"])
        snapshot = c.present()
    load_training(c, state["training"])
    for name, part in c.stateful():
        part.load_state_dict(state["components"][name])
    load_update(c, state)
    c.state.proposal = None if state["proposal"] is None else _proposal_from(state["proposal"])
    c.state.stats = None if state["stats"] is None else CycleStats(**state["stats"])
    if not c.is_baseline:
        c.outer.snapshot = snapshot
    load_batches(c, state)
    if not c.is_baseline and snapshot is None:
        c.outer.take_snapshot()
    if c.together.rank < len(state["rng"]):  # of further processes than there were, each goes on with its own
        set_stream_states(state["rng"][c.together.rank])


def _training_at(c: Components, snapshot: Snapshot) -> dict[str, Any]:
    """The training state a snapshot holds, as copies: go there, copy, and come back."""
    now = c.present()
    snapshot.restore()
    try:
        return mapped(lambda one: one.detach().clone(), training_state(c))
    finally:
        now.restore()


def _fork_state(c: Components, fork: Fork) -> dict[str, Any]:
    """Of it what is the same in all processes."""
    return {
        "plan": asdict(fork.plan),
        "rng": fork.rng,
        "batches": None,
        "num_steps": fork.num_steps,
        "training": _training_at(c, fork.start.training),
        "path": fork.start.path.state,
    }


def _fork_from(c: Components, state: Mapping[str, Any]) -> Fork:
    """The fork whose start is in the model right now."""
    plan: dict[str, Any] = dict(state["plan"])
    request: dict[str, Any] = {**plan["request"], "policies": tuple(plan["request"]["policies"])}
    plan["request"] = ForkRequest(**request)
    plan["stats"] = CycleStats(**plan["stats"])
    fork = Fork(ForkPlan(**plan), Place(c.present(), PathCopy(state["path"])), state["rng"])
    fork.num_steps = int(state["num_steps"])
    return fork


def _proposal_from(state: Mapping[str, Any]) -> Proposal:
    values: dict[str, Any] = {**state, "delta": WeightDelta(**state["delta"])}
    return Proposal(**values)
