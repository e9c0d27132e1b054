"""The trainer's state with its large tensors by parameter name, as torch.distributed.checkpoint stores and divides it.

    model, others   weights and buffers of the model; weights that only the optimizers hold
    optimizer       tensors of their states
    trajectory      start of the cycle and trend; not of the plain loop
    rest            all else, a tuple, which DCP reads back whole: JSON and small tensors, see `codec`

DTensors stay what they are, so that other numbers of processes read them, and one alone. DCP reads into the tensors
that it is given, under the same names: state that an optimizer has not made yet is made for that, and forgotten again.

Not in it: batches kept for probes, a fork, gradients of an update in progress, which begins anew, and what a jump in
doubt would be undone to; the jump stays.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from hpt.control.correct import CorrectWatch
from hpt.errors import CheckpointError
from hpt.jump.snapshot import OptimizerState
from hpt.numerics.shards import local, placed
from hpt.optimizers.inner import states_of
from hpt.optimizers.stored import parameters_of
from hpt.trainer import checkpoint
from hpt.trainer.checkpoint_file import SCHEMA_VERSION
from hpt.trainer.codec import decode, encode
from hpt.trainer.components import Components

_COPIES = ("start", "trend")
Tree = dict[str, Any]


def state_dict(c: Components) -> Tree:
    """What the module says; all processes call it together, and its tensors are the trainer's own.

    Raises:
        CheckpointError: a part of the state cannot be stored.
    """
    tree = checkpoint.lasting_state(c)
    training, parts, names = tree["training"], tree["components"], c.parameters.names
    parts["full"] |= {"losses": [], "grads": [None] * len(c.parameters.every)}
    if not c.is_baseline and c.correct.in_doubt:
        parts["correct"] = CorrectWatch(c.config.correct_steps, c.config.probe.band_sigmas).state_dict()
    state: Tree = {"model": {name: one for name, one in training["model"].items() if isinstance(one, torch.Tensor)}}
    for name in state["model"]:
        del training["model"][name]
        training["buffers"].pop(name, None)
    state["others"] = {names[id(one)]: one.detach() for one in c.parameters.beyond_model}
    training["others"] = []
    training["optimizer"] = [_without_tensors(one) for one in states_of(training["optimizer"])]
    with _complete(c):
        state["optimizer"] = _by_name(c)
    if not c.is_baseline:
        path = parts["outer"]["trajectory"]
        state["trajectory"] = {name: _copies(c, path.pop(name)) for name in _COPIES}
    tensors, text = encode({"schema": SCHEMA_VERSION, **tree})
    state["rest"] = (text, {name: one.clone() for name, one in tensors.items()})
    return state


def load_state_dict(c: Components, state: Mapping[str, Any]) -> None:
    """Inverse of `state_dict`, whatever pieces its tensors were stored in.

    Raises:
        CheckpointError: it does not fit; apart from what DCP has read into it nothing has changed then.
    """
    text, tensors = state["rest"]
    tree = decode({name: one.cpu() for name, one in tensors.items()}, text)
    if tree["schema"] != SCHEMA_VERSION:
        raise CheckpointError(
            f"the state has schema {tree['schema']}, this hpt reads {SCHEMA_VERSION}; load it with its own version"
        )
    training = tree["training"]
    training["model"] |= state["model"]
    training["buffers"] |= {name: one for name, one in state["model"].items() if name in dict(c.bare.named_buffers())}
    training["others"] = list(state["others"].values())
    saved = [
        _with_tensors(one, names, state["optimizer"])
        for one, names in zip(training["optimizer"], _numbered(c, training["optimizer"]), strict=True)
    ]
    training["optimizer"] = saved if len(saved) > 1 else saved[0]
    if not c.is_baseline:
        path = tree["components"]["outer"]["trajectory"]
        path |= {name: list(state["trajectory"][name].values()) for name in _COPIES}
    checkpoint.restore(c, tree, "the state")


def _copies(c: Components, copies: list[torch.Tensor]) -> Tree:
    """One of the trajectory's lists of copies by parameter name, placed as the parameters are."""
    pairs = zip(c.outer.trajectory.parameters, copies, strict=True)
    return {c.parameters.names[id(parameter)]: placed(one, parameter) for parameter, one in pairs}


def _numbered(c: Components, saved: list[Tree]) -> list[dict[int, str]]:
    """For each optimizer, the names of its parameters by their numbers in its state dictionary."""
    names, result = c.parameters.names, list[dict[int, str]]()
    for optimizer, state in zip(c.optimizer.each, saved, strict=True):
        numbers = [number for group in state["param_groups"] for number in group["params"]]
        pairs = zip(numbers, parameters_of(optimizer), strict=True)
        result.append({number: names[id(parameter)] for number, parameter in pairs})
    return result


def _by_name(c: Components) -> Tree:
    """The tensors of the optimizers' states, by parameter name and by theirs."""
    saved = states_of(c.optimizer.state_dict())
    found = {
        names[number]: {key: one for key, one in entry.items() if isinstance(one, torch.Tensor)}
        for state, names in zip(saved, _numbered(c, saved), strict=True)
        for number, entry in state["state"].items()
    }
    return {name: tensors for name, tensors in found.items() if tensors}


def _without_tensors(saved: Tree) -> Tree:
    """An optimizer's state dictionary with the names of what each parameter's state holds, and what is no tensor."""
    entries = {
        number: {
            "keys": list(entry),
            "plain": {key: one for key, one in entry.items() if not isinstance(one, torch.Tensor)},
        }
        for number, entry in saved["state"].items()
    }
    return {**saved, "state": entries}


def _with_tensors(saved: Tree, names: Mapping[int, str], tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> Tree:
    """Inverse of `_without_tensors`."""
    entries = {
        number: {
            key: entry["plain"][key] if key in entry["plain"] else tensors[names[number]][key] for key in entry["keys"]
        }
        for number, entry in saved["state"].items()
    }
    return {**saved, "state": entries}


@contextmanager
def _complete(c: Components) -> Generator[None]:
    """Inside, every trained parameter has a state: where it has none yet, the one that a step at rate 0 makes."""
    kept = [OptimizerState(one) for one in c.optimizer.each]
    grads = [(one, one.grad) for one in c.parameters.every]
    for one, _ in grads:
        one.grad = None
    lacking = [(one, _stateless(one)) for one in c.optimizer.each]
    weights = [(one, local(one).detach().clone()) for _, each in lacking for one in each]
    try:
        for optimizer, each in lacking:
            _step_at_rate_zero(optimizer, each)
        yield
    finally:
        with torch.no_grad():
            for one, before in weights:
                local(one).copy_(before)
        for one, grad in grads:
            one.grad = grad
        for one in kept:
            one.put_back()


def _stateless(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [one for one in parameters_of(optimizer) if one.requires_grad and not optimizer.state.get(one)]


def _step_at_rate_zero(optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter]) -> None:
    """With gradients of zero, of these parameters alone."""
    if not parameters:
        return
    for one in parameters:
        one.grad = torch.zeros_like(one)
    for group in optimizer.param_groups:
        rate = group["lr"]
        group["lr"] = torch.zeros_like(rate) if isinstance(rate, torch.Tensor) else 0.0
    optimizer.step()
