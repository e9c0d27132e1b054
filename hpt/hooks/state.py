"""The state of an attached run, of types that `torch.load(weights_only=True)` and DCP take as they are.

    schema    version of this layout
    content   () before the first step, else a tuple, which DCP reads back whole, whatever is in it by then:
        text      JSON, see `hpt.trainer.codec`
        tensors   by name, on the CPU
        losses    of the update under way

Nothing in it is sent between processes, so one process may save alone. A jump that is in doubt when the state is saved
stays after loading: what it would be undone to is not stored. Nor are start and trend of weights that lie in pieces on
several processes: there the path begins anew.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch

from hpt.errors import CheckpointError
from hpt.hooks.hosted import HostedRun
from hpt.hooks.losses import UpdateLoss
from hpt.trainer.codec import decode, encode

SCHEMA = 1
NOTHING = {"schema": SCHEMA, "content": ()}
"""The state before the first step."""
_PARTS = ("parameters", "ledger", "controller", "outer", "history", "gate", "monitor", "correct", "residuals", "trend")
_ORDER = (*_PARTS, "predictor")  # last, as a state of a predictor that failed cannot be taken back
_SCALARS = ("num_calls", "horizon_factor", "confidence", "is_changing")
_SETTINGS = ("predictor", "cycle_steps", "total_steps")


def state_of(run: HostedRun, losses: UpdateLoss) -> dict[str, Any]:
    """Everything needed to continue bit for bit."""
    parts = {name: getattr(run, name).state_dict() for name in _ORDER}
    if run.parameters.shards.exist:
        parts["outer"]["trajectory"] = None
    tensors, text = encode(
        {
            "settings": {name: getattr(run.config, name) for name in _SETTINGS},
            "parts": parts,
            "scalars": {name: getattr(run.state, name) for name in _SCALARS},
            "said": sorted(run.state.said),
            "num_failed": run.num_failed,
            "rows": [torch.as_tensor(row).detach().cpu() for row in run.readings.unread],
        }
    )
    content = (text, {name: one.clone() for name, one in tensors.items()}, losses.state_dict())
    return {"schema": SCHEMA, "content": content}


def losses_in(state: Mapping[str, Any]) -> dict[str, Any]:
    """What `UpdateLoss.load_state_dict` takes."""
    return state["content"][2]


def restore(run: HostedRun, state: Mapping[str, Any]) -> bool:
    """Inverse of `state_of`, but for the losses of the update under way.

    Returns:
        Whether the path of the cycle was stored; without it another begins.

    Raises:
        CheckpointError: it is of another schema, of other settings, or of other parameters; nothing has changed then.
    """
    check_schema(state)
    text, tensors, _ = state["content"]
    saved = decode({name: one.cpu() for name, one in tensors.items()}, text)
    for name, value in saved["settings"].items():
        mine = getattr(run.config, name)
        if value != mine:
            raise CheckpointError(
                f"the state of hpt.attach was made with {name} {value!r}, this run has {mine!r}; "
                "attach with the settings of the run, or load the optimizer's state without it"
            )
    outer = saved["parts"]["outer"]
    has_path = outer["trajectory"] is not None
    if not has_path:
        own = run.outer.trajectory.state_dict()
        outer["trajectory"] = {**own, "num_cycles": 0, "trend": [torch.zeros_like(one) for one in own["trend"]]}
    _restore_parts(run, saved["parts"])
    for name, value in saved["scalars"].items():
        setattr(run.state, name, value)
    run.state.said = set(saved["said"])
    run.num_failed = int(saved["num_failed"])
    run.readings.restore([row.to(run.device) for row in saved["rows"]])
    run.outer.snapshot = None  # of weights and an optimizer's state that the host replaces, before or after this
    return has_path


def _restore_parts(run: HostedRun, saved: Mapping[str, Any]) -> None:
    """All of them, or none."""
    before = {name: copy.deepcopy(getattr(run, name).state_dict()) for name in _ORDER}
    try:
        for name in _ORDER:
            getattr(run, name).load_state_dict(saved[name])
    except Exception as error:
        for name, state in before.items():
            getattr(run, name).load_state_dict(state)
        raise CheckpointError(
            f"the state of hpt.attach does not fit, {type(error).__name__}: {error}; "
            "attach to the optimizer of that run"
        ) from error


def total_steps_of(state: Mapping[str, Any]) -> int | None:
    """How many updates the run that gave this state was to have.

    Raises:
        CheckpointError: it is of another schema, or not readable.
    """
    check_schema(state)
    if not state["content"]:
        return None
    text, tensors, _ = state["content"]
    return decode(tensors, text)["settings"]["total_steps"]


def check_schema(state: Mapping[str, Any]) -> None:
    """It is a state of this layout.

    Raises:
        CheckpointError: it is not.
    """
    if state.get("schema") != SCHEMA:
        raise CheckpointError(
            f"the state of hpt.attach has schema {state.get('schema')!r}, this version reads {SCHEMA}; "
            "load it with the version that saved it"
        )
