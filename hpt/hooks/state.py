"""The state of an attached run as tensors and text, which `torch.load(weights_only=True)` and DCP take as they are.

    schema    version of this layout
    text      JSON, see `hpt.trainer.codec`
    tensors   by name, on the CPU

Nothing in it is sent between processes, so one process may save alone. A jump that is in doubt when the state is saved
stays after loading: what it would be undone to is not stored.
"""

from collections.abc import Mapping
from typing import Any

import torch

from hpt.errors import CheckpointError
from hpt.hooks.hosted import HostedRun
from hpt.trainer.codec import decode, encode

SCHEMA = 1
_PARTS = ("parameters", "ledger", "controller", "predictor", "outer", "history", "gate", "monitor", "correct")
_LEARNED = ("residuals", "trend")
_SCALARS = ("num_calls", "horizon_factor", "confidence")
_SETTINGS = ("predictor", "cycle_steps", "total_steps")


def state_of(run: HostedRun) -> dict[str, Any]:
    """Everything needed to continue bit for bit."""
    rows = [torch.as_tensor(row).detach().cpu() for row in run.readings.unread]
    tensors, text = encode(
        {
            "settings": {name: getattr(run.config, name) for name in _SETTINGS},
            "parts": {name: getattr(run, name).state_dict() for name in (*_PARTS, *_LEARNED)},
            "scalars": {name: getattr(run.state, name) for name in _SCALARS},
            "said": sorted(run.state.said),
            "num_failed": run.num_failed,
            "rows": rows,
        }
    )
    return {"schema": SCHEMA, "text": text, "tensors": {name: one.clone() for name, one in tensors.items()}}


def restore(run: HostedRun, state: Mapping[str, Any]) -> None:
    """Inverse of `state_of`.

    Raises:
        CheckpointError: it is of another schema, of other settings, or of other parameters.
    """
    check_schema(state)
    saved = decode(state["tensors"], state["text"])
    for name, value in saved["settings"].items():
        mine = getattr(run.config, name)
        if value != mine:
            raise CheckpointError(
                f"the state of hpt.attach was made with {name} {value!r}, this run has {mine!r}; "
                "attach with the settings of the run, or load the optimizer's state without it"
            )
    try:
        for name in (*_PARTS, *_LEARNED):
            getattr(run, name).load_state_dict(saved["parts"][name])
    except (KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"the state of hpt.attach does not fit: {error}; attach to the optimizer of that run"
        ) from error
    for name, value in saved["scalars"].items():
        setattr(run.state, name, value)
    run.state.said = set(saved["said"])
    run.num_failed = int(saved["num_failed"])
    run.readings.restore([row.to(run.device) for row in saved["rows"]])
    run.outer.take_snapshot()


def total_steps_of(state: Mapping[str, Any]) -> int | None:
    """How many updates the run that gave this state was to have.

    Raises:
        CheckpointError: it is of another schema.
    """
    check_schema(state)
    return decode(state["tensors"], state["text"])["settings"]["total_steps"]


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
