"""Model, optimizer, scheduler and loss scale as one tree, and putting them back exactly.

Their own methods do the work, so that hooks and overrides of a user's classes hold. What these methods lose is kept
beside: versions of modules, buffers that no state dictionary has, weights that only the optimizers know, places of
their tensors. One optimizer or scheduler is stored as its own dictionary, several as a list.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch

from hpt.optimizers.inner import states_of
from hpt.trainer.components import Components

MAX_NAMES = 8  # of keys in a message


def training_state(c: Components) -> dict[str, Any]:
    """Everything that an update changes; tensors by reference."""
    model = c.bare.state_dict()
    return {
        "kinds": _kinds(c),
        "model": dict(model),
        "metadata": dict(getattr(model, "_metadata", {})),
        "buffers": {name: registry[key] for name, registry, key in _buffers(_modules(c))},
        "others": [one.detach() for one in c.parameters.beyond_model],
        "optimizer": c.optimizer.state_dict(),
        "elsewhere": c.optimizer.kept_on_host(),
        "scheduler": _packed([_plain_state(one.state_dict()) for one in c.schedulers]),
        "precision": c.precision.state_dict(),
    }


@torch.no_grad()
def load_training(c: Components, state: Mapping[str, Any]) -> None:
    """Inverse of `training_state`, in place wherever a tensor of that shape and format is there."""
    _load_buffers(c, state)
    model = OrderedDict(state["model"])
    model._metadata = OrderedDict(state["metadata"])  # type: ignore[attr-defined] # noqa: SLF001
    c.bare.load_state_dict(model)
    for mine, theirs in zip(c.parameters.beyond_model, state["others"], strict=True):
        mine.copy_(theirs)
    c.optimizer.load_state_dict(state["optimizer"], state["elsewhere"])
    for one, saved in zip(c.schedulers, _unpacked(state["scheduler"]), strict=True):
        one.load_state_dict({**one.state_dict(), **saved})
    c.precision.load_state_dict(state["precision"])


def misfits(c: Components, state: Mapping[str, Any]) -> list[str]:
    """What of a stored state has no place here, or another one, by name; empty when all of it fits."""
    found = [
        f"{what} {theirs} in the file, {mine} here"
        for (what, mine), theirs in zip(_kinds(c).items(), state["kinds"].values(), strict=True)
        if mine != theirs
    ]
    found += _model_misfits(c, state)
    for one, saved in zip(c.optimizer.each, states_of(state["optimizer"]), strict=False):  # else their kinds differ
        sizes, stored = _sizes(one.param_groups), _sizes(saved.get("param_groups", one.param_groups))
        if sizes != stored:
            found.append(f"parameters by optimizer group {stored} in the file, {sizes} here")
    shapes, stored = ([tuple(one.shape) for one in tensors] for tensors in (c.parameters.beyond_model, state["others"]))
    if shapes != stored:
        found.append(f"weights outside the model {stored} in the file, {shapes} here")
    return found


def _sizes(groups: list[dict[str, Any]]) -> list[int]:
    return [len(group["params"]) for group in groups]


def _model_misfits(c: Components, state: Mapping[str, Any]) -> list[str]:
    mine, theirs, buffers = c.bare.state_dict(), state["model"], state["buffers"]
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
    parts = (("optimizer", c.optimizer.each), ("scheduler", c.schedulers))
    return {name: ", ".join(type(one).__qualname__ for one in each) or "none" for name, each in parts}


def _modules(c: Components) -> dict[str, torch.nn.Module]:
    """The model's modules by name, and those that only the loss function holds, numbered as they are found there."""
    modules = dict(c.bare.named_modules())
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


def _packed(each: list[Any]) -> Any:
    """None for none, one for itself, several as a list."""
    return each if len(each) > 1 else each[0] if each else None


def _unpacked(packed: Any) -> list[Any]:
    """Inverse of `_packed`, of what is itself no list."""
    return [] if packed is None else cast("list[Any]", packed) if isinstance(packed, list) else [packed]


def _plain_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """A scheduler's state without what only its own construction can give (functions, the optimizer)."""
    return {key: value for key, value in state.items() if not callable(value) and key != "optimizer"}
