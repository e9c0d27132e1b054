"""Workloads by name, and the user's own by `package.module:factory`."""

import difflib
from collections.abc import Callable, Generator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hpt.errors import HptError, UsageError
from hpt.plugins import failures_named, load_plugin
from hpt.workloads.byte_gpt import SIZES as BYTE_SIZES
from hpt.workloads.byte_gpt import ByteGPT
from hpt.workloads.cnn import TemplateCNN
from hpt.workloads.gpt2 import SIZES, GPT2Text
from hpt.workloads.mlp import TeacherMLP
from hpt.workloads.regression import Regression
from hpt.workloads.workload import Workload


def _without_data(make: Callable[..., Workload], *, seed: int, data: Path | None, device: torch.device) -> Workload:
    """Make a workload that generates its own samples and so has no use for a data path."""
    workload = make(seed=seed, device=device)
    if data is not None:
        raise UsageError(f"data is {str(data)!r}, but {workload.name} generates its own samples; leave it out")
    return workload


_FACTORIES: dict[str, Callable[..., Workload]] = {
    **{name: partial(ByteGPT, size) for name, size in BYTE_SIZES.items()},
    **{size: partial(GPT2Text, size) for size in SIZES},
    # 8192 tokens a step, for a GPU: the default of 128 measures memory on any machine, and trains nothing.
    "gpt2-b32": partial(GPT2Text, "gpt2", batch_size=32, seq_len=256, called="gpt2-b32", validation_tokens=65_536),
    "mlp": partial(_without_data, TeacherMLP),
    "cnn": partial(_without_data, TemplateCNN),
    "regression": partial(_without_data, Regression),
}

WORKLOADS: tuple[str, ...] = tuple(_FACTORIES)


def load_workload(name: str, *, seed: int, data: Path | None = None, device: torch.device) -> Workload:
    """The workload of that name; for "package.module:factory", what `factory(seed=, data=, device=)` returns.

    Args:
        name: one of `WORKLOADS`, or an import path.
        seed: decides initial weights and batches; 0 or more.
        data: the user's text file or folder, for the text workloads.
        device: where the model and the batches will live.

    Raises:
        UsageError: the name is unknown, the seed is negative, or the workload takes no data.
        DataError: the data is missing, unreadable or too short.
        HptError: the user's factory cannot be imported, fails, or returns something else.
    """
    if not 0 <= seed < 2**63:
        raise UsageError(f"seed is {seed}, it must be between 0 and 2**63 - 1; choose another")
    if ":" in name:
        return _from_factory(name, seed, data, device)
    if name not in _FACTORIES:
        near = difflib.get_close_matches(name, WORKLOADS, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(WORKLOADS)}"
        raise UsageError(f"workload {name!r} is unknown; {hint} (your own: package.module:factory)")
    return _FACTORIES[name](seed=seed, data=data, device=device)


def try_workloads(arguments: Mapping[str, Any]) -> Generator[dict[str, Any]]:
    """Make workloads and drop them, for `hpt.run.preflight`; yields the names that could be made."""
    data = None if arguments["data"] is None else Path(arguments["data"])
    for name in arguments["names"]:
        for seed in arguments["seeds"]:
            load_workload(name, seed=seed, data=data, device=torch.device(arguments["device"]))
        yield {"name": name}


def _from_factory(name: str, seed: int, data: Path | None, device: torch.device) -> Workload:
    with failures_named(f"workload {name} cannot be made"):
        workload = load_plugin(name)(seed=seed, data=data, device=device)
    if not isinstance(workload, Workload):
        kind = type(workload).__name__
        raise HptError(
            f"workload {name} returned a {kind}, it must be a Workload; "
            "derive its class from hpt.workloads.workload.Workload"
        )
    return workload
