"""The inner optimizer: one, or a list of them, each over parameters of its own, as Muon for matrices beside AdamW.

Whoever asks for parameters or their groups is answered for all together; whoever steps, copies or stores goes through
`each`, since a group may be added to one of them at any time, and a group's place counts within its optimizer only.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, cast

import torch
from torch import nn
from torch.optim import Optimizer

from hpt.errors import ModelError
from hpt.optimizers.stored import Places, kept_on_host, load_exactly, parameters_of, tensors_in

Group = dict[str, Any]
StateDict = dict[str, Any]
_SOME = "a torch.optim.Optimizer or a list of them"


class InnerOptimizer:
    """One optimizer or several, in order; an update is a step of each.

    Args:
        given: one, or a list of them.
        model: names parameters in a refusal.

    Attributes:
        each: the optimizers.

    Raises:
        ModelError: there is none, something else is among them, one is there twice, or two hold one parameter.
    """

    def __init__(self, given: Optimizer | Sequence[Optimizer], model: nn.Module | None = None) -> None:
        self.each: list[Optimizer] = list(given) if isinstance(given, (list, tuple)) else [cast("Optimizer", given)]
        if not self.each:
            raise ModelError(f"optimizer is an empty list, it must be {_SOME}; pass one")
        for place, one in enumerate(self.each):
            _check_kind(one, "optimizer" if one is given else f"optimizer {place} of the list")
        if len(self.each) > 1:
            self._check_apart({} if model is None else {id(one): name for name, one in model.named_parameters()})

    def _check_apart(self, names: dict[int, str]) -> None:
        holders: dict[int, int] = {}
        for place, one in enumerate(self.each):
            if any(one is other for other in self.each[:place]):
                raise ModelError(f"optimizer {place} of the list, {_name(one)}, is there twice; pass it once")
            for number, parameter in enumerate(parameters_of(one)):
                first = holders.setdefault(id(parameter), place)
                if first != place:
                    raise ModelError(
                        f"parameter {names.get(id(parameter), f'{number} of {_name(one)}')} is held by optimizers "
                        f"{first} ({_name(self.each[first])}) and {place} ({_name(one)}) of the list, "
                        "every update would change it twice; leave it to one of them"
                    )

    @property
    def param_groups(self) -> list[Group]:
        """The groups of all, in order, as they are now."""
        if len(self.each) == 1:
            return self.each[0].param_groups
        return list(chain.from_iterable(one.param_groups for one in self.each))

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What they hold, group by group."""
        return [one for group in self.param_groups for one in group["params"]]

    @property
    def lr(self) -> float:
        """Learning rate of the first group of the first optimizer."""
        return float(self.each[0].param_groups[0]["lr"])

    def state_tensors(self) -> list[torch.Tensor]:
        """The tensors of their states, parameter by parameter."""
        return list(tensors_in([list(one.state.values()) for one in self.each]))

    def zero_grad(self) -> None:
        """Forget the gradients of all that they hold, by their own `zero_grad` where it is not torch's.

        Torch's does the same in a profiler's range, which takes longer than to forget the gradients of a small model.
        """
        for one in self.each:
            if type(one).zero_grad is not Optimizer.zero_grad or "zero_grad" in vars(one):
                one.zero_grad(set_to_none=True)
                continue
            for parameter in parameters_of(one):
                parameter.grad = None

    def state_dict(self) -> StateDict | list[StateDict]:
        """The state dictionary of a single optimizer; a list of those of several, in order."""
        states = [one.state_dict() for one in self.each]
        return states[0] if len(states) == 1 else states

    def kept_on_host(self) -> list[tuple[int, str]]:
        """State that is on the host although the parameter is not: number of the parameter among all, and name."""
        held = ((first, kept_on_host(one)) for first, one in zip(self._firsts(), self.each, strict=True))
        return [(first + number, name) for first, found in held for number, name in found]

    def load_state_dict(self, state: StateDict | Sequence[StateDict], on_host: Places = ()) -> None:
        """Inverse of `state_dict`, to the bit: each loads its own.

        Args:
            state: what `state_dict` gave.
            on_host: what `kept_on_host` said then.

        Raises:
            ValueError: it is of another number of optimizers, or one of them refuses its own.
        """
        states = states_of(state)
        if len(states) != len(self.each):
            raise ValueError(
                f"the state is of {len(states)} optimizers, {len(self.each)} are here; pass those it is of"
            )
        for first, one, saved in zip(self._firsts(), self.each, states, strict=True):
            load_exactly(one, saved, {(number - first, name) for number, name in on_host})

    def _firsts(self) -> list[int]:
        """Number of the first parameter of each, among all."""
        firsts = [0]
        for one in self.each[:-1]:
            firsts.append(firsts[-1] + len(parameters_of(one)))
        return firsts


def states_of(state: StateDict | Sequence[StateDict]) -> list[StateDict]:
    """The state dictionaries in what `InnerOptimizer.state_dict` gave, one for each optimizer."""
    return [state] if isinstance(state, dict) else list(state)


def _check_kind(one: object, what: str) -> None:
    """What behaves as an optimizer is one: packages wrap those of torch without being any."""
    if not (callable(getattr(one, "step", None)) and hasattr(one, "param_groups")):
        raise ModelError(f"{what} is a {_name(one)}, it must be {_SOME}; pass an optimizer there")


def _name(one: object) -> str:
    return type(one).__qualname__
