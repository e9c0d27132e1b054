"""Model, optimizer, scheduler and loss scale as one tree, and putting them back exactly.

Their own methods do the work, so that hooks and overrides of a user's classes hold. What these methods lose is kept
beside: versions of modules, buffers that no state dictionary has, weights that only the optimizer knows, formats and
places of the optimizer's tensors.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch

from hpt.trainer.components import Components

MAX_NAMES = 8  # of keys in a message


def training_state(c: Components) -> dict[str, Any]:
    """Everything that an update changes; tensors by reference."""
    model = c.model.state_dict()
    return {
        "kinds": _kinds(c),
        "model": dict(model),
        "metadata": dict(getattr(model, "_metadata", {})),
        "buffers": {name: registry[key] for name, registry, key in _buffers(_modules(c))},
        "others": [one.detach() for one in c.parameters.beyond_model],
        "optimizer": c.optimizer.state_dict(),
        "elsewhere": _elsewhere(c.optimizer),
        "scheduler": None if c.scheduler is None else _plain_state(c.scheduler.state_dict()),
        "precision": c.precision.state_dict(),
    }


@torch.no_grad()
def load_training(c: Components, state: Mapping[str, Any]) -> None:
    """Inverse of `training_state`, in place wherever a tensor of that shape and format is there."""
    _load_buffers(c, state)
    model = OrderedDict(state["model"])
    model._metadata = OrderedDict(state["metadata"])  # type: ignore[attr-defined] # noqa: SLF001
    c.model.load_state_dict(model)
    for mine, theirs in zip(c.parameters.beyond_model, state["others"], strict=True):
        mine.copy_(theirs)
    _load_optimizer(c.optimizer, state["optimizer"], state["elsewhere"])
    if c.scheduler is not None:
        c.scheduler.load_state_dict({**c.scheduler.state_dict(), **state["scheduler"]})
    c.precision.load_state_dict(state["precision"])


def misfits(c: Components, state: Mapping[str, Any]) -> list[str]:
    """What of a stored state has no place here, or another one, by name; empty when all of it fits."""
    found = [
        f"{what} {theirs} in the file, {mine} here"
        for (what, mine), theirs in zip(_kinds(c).items(), state["kinds"].values(), strict=True)
        if mine != theirs
    ]
    found += _model_misfits(c, state)
    sizes = [len(group["params"]) for group in c.optimizer.param_groups]
    stored = [len(group["params"]) for group in state["optimizer"].get("param_groups", c.optimizer.param_groups)]
    if sizes != stored:
        found.append(f"parameters by optimizer group {stored} in the file, {sizes} here")
    shapes, stored = ([tuple(one.shape) for one in tensors] for tensors in (c.parameters.beyond_model, state["others"]))
    if shapes != stored:
        found.append(f"weights outside the model {stored} in the file, {shapes} here")
    return found


def _model_misfits(c: Components, state: Mapping[str, Any]) -> list[str]:
    mine, theirs, buffers = c.model.state_dict(), state["model"], state["buffers"]
    modules = _modules(c)
    # A buffer may have come, or been filled or emptied, in a forward pass.
    here = {name for name, _, _ in _buffers(modules)}
    missing = [name for name in mine if name not in theirs and not (name in here and name in buffers)]
    unexpected = [name for name in theirs if name not in mine and not (name in buffers and _owner(name) in modules)]
    unexpected += [name for name in buffers if name not in theirs and _owner(name) not in modules]
    both = [
        name for name in mine if name in theirs and name not in buffers and _layout(mine[name]) != _layout(theirs[name])
    ]
    others = [f"{name} {_layout(theirs[name])} in the file, {_layout(mine[name])} here" for name in both]
    named = (("missing keys", missing), ("unexpected keys", unexpected), ("other shapes", others))
    return [f"{what} {_listed(names)}" for what, names in named if names]


def _layout(value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"


def _listed(names: list[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _kinds(c: Components) -> dict[str, str]:
    parts = (("optimizer", c.optimizer), ("scheduler", c.scheduler))
    return {name: "none" if one is None else type(one).__qualname__ for name, one in parts}


def _modules(c: Components) -> dict[str, torch.nn.Module]:
    """The model's modules by name, and those that only the loss function holds, numbered as they are found there."""
    modules = dict(c.model.named_modules())
    known = {id(one) for one in modules.values()}
    for number, outside in enumerate(c.full.reach.modules):
        for path, one in outside.named_modules(prefix=f"loss_fn {number}"):
            if id(one) not in known:
                known.add(id(one))
                modules[path] = one
    return modules


def _buffers(modules: Mapping[str, torch.nn.Module]) -> Iterator[tuple[str, dict[str, torch.Tensor | None], str]]:
    """Name, registry and key of every buffer, empty ones and those in no state dictionary included."""
    for path, module in modules.items():
        registry = module._buffers  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        for key in registry:
            yield f"{path}.{key}" if path else key, registry, key


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _load_buffers(c: Components, state: Mapping[str, Any]) -> None:
    """Buffers as they were; one that came, went or changed its shape in a forward pass is put in its place anew."""
    modules = _modules(c)
    here = {name: (registry, key) for name, registry, key in _buffers(modules)}
    for name, saved in state["buffers"].items():
        if name not in here:
            module, key = modules[_owner(name)], name.rpartition(".")[2]
            module.register_buffer(key, None, persistent=name in state["model"])
            here[name] = (module._buffers, key)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        registry, key = here[name]
        live = registry[key]
        if live is None or saved is None or _layout(live) != _layout(saved):
            device = c.device if live is None else live.device
            registry[key] = None if saved is None else saved.to(device)
        elif not torch.equal(live, saved.to(live.device)):
            live.copy_(saved)


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [one for group in optimizer.param_groups for one in group["params"]]


def _elsewhere(optimizer: torch.optim.Optimizer) -> list[tuple[int, str]]:
    """Place of a parameter and name of its state, where that is on the host and the parameter is not."""
    state = cast("Mapping[Any, Any]", optimizer.state)
    return [
        (place, key)
        for place, parameter in enumerate(_parameters(optimizer))
        for key, one in state.get(parameter, {}).items()
        if isinstance(one, torch.Tensor) and one.device.type == "cpu" != parameter.device.type
    ]


def _load_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any], elsewhere: list[tuple[int, str]]) -> None:
    """As the optimizer does it; then the tensors that it brought into its parameters' format, exactly."""
    groups = [{**group} for group in optimizer.param_groups]
    optimizer.load_state_dict(saved)
    for before, group in zip(groups, optimizer.param_groups, strict=True):
        for key, one in group.items():
            if isinstance(one, torch.Tensor) and isinstance(before.get(key), torch.Tensor):
                group[key] = one.to(before[key].device)
    if not {"state", "param_groups"} <= saved.keys():
        return
    numbers = [number for group in saved["param_groups"] for number in group["params"]]
    state, stay = cast("Mapping[Any, Any]", optimizer.state), set(elsewhere)
    for place, (number, parameter) in enumerate(zip(numbers, _parameters(optimizer), strict=True)):
        live, exact = state.get(parameter, {}), saved["state"].get(number, {})
        for key in live.keys() & exact.keys():
            live[key] = exact[key] if (place, key) in stay else _as_saved(live[key], exact[key])


def _as_saved(live: Any, exact: Any) -> Any:
    """The stored value in the place of the loaded one."""
    if isinstance(live, torch.Tensor) and isinstance(exact, torch.Tensor):
        return exact.to(live.device) if live.shape == exact.shape else live
    if isinstance(live, dict) and isinstance(exact, dict):
        return {key: _as_saved(one, exact[key]) if key in exact else one for key, one in live.items()}
    if type(live) in (list, tuple) and type(live) is type(exact) and len(live) == len(exact):
        return type(live)(_as_saved(*pair) for pair in zip(live, exact, strict=True))
    return live


def _plain_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """A scheduler's state without what only its own construction can give (functions, the optimizer)."""
    return {key: value for key, value in state.items() if not callable(value) and key != "optimizer"}
