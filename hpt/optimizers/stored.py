"""What one optimizer holds, and its state put back from its state dictionary to the bit.

`Optimizer.load_state_dict` brings tensors into the format and to the place of their parameters. Moments in another
format, rates that are tensors, and state that waits on the host are put back here as they were.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, cast

import torch
from torch.optim import Optimizer

Places = Collection[tuple[int, str]]
"""Number of a parameter in its optimizer, and name of a tensor in its state."""


def parameters_of(optimizer: Optimizer) -> list[torch.nn.Parameter]:
    """What it holds, group by group."""
    return [one for group in optimizer.param_groups for one in group["params"]]


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """The tensors in a state, however deep in its dictionaries, lists and tuples."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors_in(list(cast("dict[Any, Any]", value).values()))
    elif isinstance(value, (list, tuple)):
        for part in cast("Iterable[Any]", value):
            yield from tensors_in(part)


def kept_on_host(optimizer: Optimizer) -> list[tuple[int, str]]:
    """State that is on the host although the parameter is not."""
    state = cast("Mapping[Any, Any]", optimizer.state)
    return [
        (place, key)
        for place, parameter in enumerate(parameters_of(optimizer))
        for key, one in state.get(parameter, {}).items()
        if isinstance(one, torch.Tensor) and one.device.type == "cpu" != parameter.device.type
    ]


def load_exactly(optimizer: Optimizer, saved: dict[str, Any], on_host: Places) -> None:
    """As the optimizer does it; then what it brought into its parameters' format or place, as it was saved.

    Args:
        optimizer: its own `load_state_dict` is called.
        saved: what its `state_dict` gave.
        on_host: what `kept_on_host` said then.
    """
    groups = [{**group} for group in optimizer.param_groups]
    optimizer.load_state_dict(saved)
    for before, group in zip(groups, optimizer.param_groups, strict=True):
        for key, one in group.items():
            if isinstance(one, torch.Tensor) and isinstance(before.get(key), torch.Tensor):
                group[key] = one.to(before[key].device)
    if {"state", "param_groups"} <= saved.keys():
        _put_back_entries(optimizer, saved, set(on_host))


def _put_back_entries(optimizer: Optimizer, saved: Mapping[str, Any], on_host: set[tuple[int, str]]) -> None:
    numbers = [number for group in saved["param_groups"] for number in group["params"]]
    state = cast("Mapping[Any, Any]", optimizer.state)
    for place, (number, parameter) in enumerate(zip(numbers, parameters_of(optimizer), strict=True)):
        live, exact = state.get(parameter, {}), saved["state"].get(number, {})
        for key in live.keys() & exact.keys():
            live[key] = exact[key] if (place, key) in on_host else _as_saved(live[key], exact[key])


def _as_saved(live: Any, exact: Any) -> Any:
    """The stored value in the place of the loaded one."""
    if isinstance(live, torch.Tensor) and isinstance(exact, torch.Tensor):
        return exact.to(live.device) if live.shape == exact.shape else live
    if isinstance(live, dict) and isinstance(exact, dict):
        return {key: _as_saved(one, exact[key]) if key in exact else one for key, one in live.items()}
    if type(live) in (list, tuple) and type(live) is type(exact) and len(live) == len(exact):
        return type(live)(_as_saved(*pair) for pair in zip(live, exact, strict=True))
    return live
