"""What of a trainer's state is another in each process: batches that are kept, and gradients that are not sent yet.

In one process they lie in the state itself, of several in a list by rank. Where another number of processes goes on, an
open fork is given up and an update in progress begins anew.
"""

from collections.abc import Mapping
from typing import Any

import torch

from hpt.jump.batch import KeptBatch
from hpt.numerics.containers import found_in, mapped
from hpt.trainer import forks
from hpt.trainer.codec import Unknown, can_hold
from hpt.trainer.components import Components


def own_state(c: Components) -> dict[str, Any]:
    """What is another in each process: batches that are kept, and gradients of an update that are not sent yet."""
    update, fork = [one.value for one in c.full.pending if one is not None], c.state.fork
    return {
        "probe_batches": [] if c.is_baseline else [_stored(one) for one in _storable(c)],
        "update_batches": _stored(update) if can_hold(update) else None,
        "update": c.full.progress() if c.together.are_several and c.full.accumulating else None,
        "fork": None
        if fork is None
        else {"rng": fork.rng, "batches": _stored([batch.value for batch in fork.batches])},
    }


def own_of_all(c: Components, own: Mapping[str, Any]) -> list[dict[str, Any]]:
    """That of all processes, by rank, in the first one; what is sent lies on the host, for it would lie on that GPU."""
    return c.together.to_first(mapped(torch.Tensor.cpu, dict(own)))


def with_own(state: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The state as one process has it."""
    fork = None if own["fork"] is None else {**state["fork"], **own["fork"]}
    return {**state, **own, "fork": fork}


def load_update(c: Components, state: Mapping[str, Any]) -> None:
    """An update in progress, where as many processes go on; else it begins anew with the next batch."""
    if not c.full.accumulating:
        return
    num_stored = len(state["rng"])
    has_update = state.get("has_update", num_stored == 1)  # older files: of the first process alone
    if has_update and num_stored == c.together.num_processes:
        if state.get("update") is not None:
            c.full.load_progress(state["update"])
        return
    c.full.begin_anew()
    num_seen = state["components"]["full"]["pending"]
    c.event(
        "update_begun_anew",
        f"an update of which {num_seen} micro-batches were seen begins anew with the next batch; the state has no "
        f"gradients of it for {c.together.num_processes} processes",
    )


def load_batches(c: Components, state: Mapping[str, Any]) -> None:
    """Batches, where they can be had; without them a fork is given up, and the first probes see fewer."""
    update = _from_stored(c, state, state["update_batches"])
    if update and len(update[0]) == len(c.full.pending) and not c.is_baseline:
        c.full.pending = [KeptBatch(one) for one in update[0]]
    if c.is_baseline:
        return
    c.probe.recent.clear()
    for stored in state["probe_batches"]:
        for one in _from_stored(c, state, stored):
            c.probe.keep(KeptBatch(one))
    if c.state.fork is None:
        return
    batches = _from_stored(c, state, state["fork"]["batches"])
    (is_lost,) = c.together.any([not (batches and update)])
    if not is_lost:
        c.state.fork.rng = state["fork"]["rng"]
        c.state.fork.batches = [KeptBatch(one) for one in batches[0]]
    else:
        forks.drop(c, _why_lost(c, state))


def _why_lost(c: Components, state: Mapping[str, Any]) -> str:
    if len(state["rng"]) != c.together.num_processes:
        return f"it was open in {len(state['rng'])} processes, and {c.together.num_processes} go on"
    return "its batches could not be read again; import the modules of their classes before loading"


def _storable(c: Components) -> list[Any]:
    """The probe's batches that a file can hold."""
    recent = [one.value for one in c.probe.recent]
    kept = [one for one in recent if can_hold(one)]
    if len(kept) < len(recent):
        c.event_once(
            "batches_not_stored", "checkpoints leave the probe's batches out, being of a type that no file holds"
        )
    return kept


def _stored(batch: Any) -> dict[str, Any]:
    return {"batch": batch, "devices": [str(one.device) for one in found_in(batch, torch.Tensor)]}


def _from_stored(c: Components, state: Mapping[str, Any], stored: Mapping[str, Any] | None) -> list[Any]:
    """The batch, its tensors where they were; none if it was not stored or its class is not imported."""
    if stored is None or any(found_in(stored["batch"], Unknown)):
        return []
    devices = iter(stored["devices"])
    moves = state["device"] != c.device.type  # to another kind of machine everything goes along
    return [mapped(lambda one: one.to(c.device if moves else next(devices)), stored["batch"])]
