"""The trained parameters, in one place: derived from model and optimizer, and again as soon as these say otherwise.

Parameters may be frozen, unfrozen, added, removed or replaced on the way. Clipping and norms, the trajectory, snapshots
and checkpoints all read the set kept here. What is compared before every update are identities, in C; memory is
compared once a cycle and before a jump.
"""

from collections.abc import Mapping
from itertools import chain
from operator import attrgetter, is_, methodcaller
from typing import Any

import torch

from hpt.memory.manager import CopyCounter
from hpt.numerics.shards import NO_SHARDS, Shards, local
from hpt.optimizers.inner import InnerOptimizer
from hpt.optimizers.roles import FOLLOWED_AS_THEY_ARE, Roles, role_by_shape, roles_of

_values = methodcaller("values")
_switch = attrgetter("requires_grad")
_NUM_NAMES = 3  # in a message

Groups = list[list[torch.nn.Parameter]]


class ParameterSet:
    """Which parameters are trained at present.

    Args:
        model: its parameters are clipped together, and names are its.
        optimizer: what it holds and requires a gradient is trained.
        told_roles: see `roles_of`.
        shards: the processes that hold pieces of the parameters.

    Raises:
        ConfigError: a role is unknown, or was told to no parameter.

    Attributes:
        every: parameters of the model, then those that only the optimizer knows.
        groups: trained parameters of each parameter group.
        clipped: all that a hand-written loop would clip, in its order (it matters to the last bit of the norm).
        change: what became different in `groups` since `settle`, "" if nothing did.
        shards: as given.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: InnerOptimizer,
        told_roles: Mapping[str, str] | None = None,
        shards: Shards = NO_SHARDS,
    ) -> None:
        self.shards = shards
        self._model, self._optimizer, self._told_roles = model, optimizer, told_roles
        roles_of(model, told_roles)
        self.change = ""
        self._settled: dict[str, list[int]] = {}
        self._followed: list[torch.nn.Parameter] = []
        self._moves_always = False
        self._derive()

    def _derive(self) -> None:
        modules = self._model.modules()
        # Through these dictionaries a parameter or module put in later is seen.
        found = (one for m in modules for one in (m._parameters, m._modules))  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        self._registries = [one for one in found if one]
        self._in_model, self._in_groups = self._held_by_model(), self._optimizer.parameters
        self._sizes = [len(group["params"]) for group in self._optimizer.param_groups]
        self.groups = trained_groups(self._optimizer)
        self.every = list({id(one): one for one in (*self._model.parameters(), *self._in_groups)}.values())
        self._switches = list(map(_switch, self.every))
        self._frozen = [one for one in self.every if not one.requires_grad]
        self.clipped = [one for one in self.every if one.requires_grad or one.grad is not None]

    def _held_by_model(self) -> list[Any]:
        return list(chain.from_iterable(map(_values, self._registries)))

    def refresh(self) -> bool:
        """Derive the set again if model or optimizer hold others, or train others, by now; whether they do."""
        sizes = [len(group["params"]) for group in self._optimizer.param_groups]
        is_same = sizes == self._sizes and _are_same(self._optimizer.parameters, self._in_groups)
        is_same = is_same and _are_same(self._held_by_model(), self._in_model)
        if is_same and list(map(_switch, self.every)) == self._switches:
            return False
        self._derive()
        trained = [one for group in self.groups for one in group]
        # A parameter that the model no longer holds has lost its name, too.
        difference = _difference(self._settled, self.described())
        self.change = difference or ("" if _are_same(trained, self._followed) else "parameters were replaced")
        return True

    def refresh_for_update(self, *, clips: bool) -> bool:
        """The same as far as this update goes: a parameter frozen since has no gradient, so the cycle's end will do."""
        is_same = _are_same(self._optimizer.parameters, self._in_groups) and not any(map(_switch, self._frozen))
        if is_same and (not clips or _are_same(self._held_by_model(), self._in_model)):
            return False
        return self.refresh()

    def look_at_memory(self, *, after_cycle: bool) -> None:
        """Note a change if trained parameters lie in other memory than at the last look (`p.data = ...`).

        In a loop that gives them new memory in every cycle that is how it updates, and no change.
        """
        moved = self._copies.check() > 0
        layouts = list(map(_layout, self._followed))
        if layouts != self._layouts or (moved and not self._moves_always):
            self.change = self.change or "weights were replaced"
        if after_cycle:
            self._moves_always = moved

    def settle(self) -> None:
        """Whoever follows the set has taken note of it as it is now."""
        self.change = ""
        self._settled = self.described()
        self._followed = [one for group in self.groups for one in group]
        self._layouts = list(map(_layout, self._followed))
        self._copies = CopyCounter(self._followed)

    def distinct(self) -> Groups:
        """The trained parameters by group, each memory once: of several over the same numbers the largest."""
        together: dict[int, list[torch.nn.Parameter]] = {}
        for one in sorted(chain.from_iterable(self.groups), key=torch.numel, reverse=True):
            if one.layout == torch.strided:
                together.setdefault(local(one).untyped_storage().data_ptr(), []).append(one)
        repeated = set(chain.from_iterable(_repeated(each) for each in together.values() if len(each) > 1))
        return [[one for one in group if id(one) not in repeated] for group in self.groups]

    @property
    def beyond_model(self) -> list[torch.nn.Parameter]:
        """Parameters that the optimizer holds and the model does not: a loss with weights of its own."""
        held = {id(one) for one in self._model.parameters()}
        return [one for one in self.every if id(one) not in held]

    @property
    def roles(self) -> Roles:
        """What each parameter is for; of one that only the optimizer holds, by its shape."""
        by_shape = {one: role_by_shape(one) for one in self.every}
        return by_shape | roles_of(self._model, self._told_roles, has_changed=True)

    @property
    def followed_as_they_are(self) -> list[torch.nn.Parameter]:
        """Parameters whose orthogonal factor no jump follows, by their roles."""
        return [one for one, role in self.roles.items() if role in FOLLOWED_AS_THEY_ARE]

    @property
    def names(self) -> dict[int, str]:
        """Of every parameter, by its identity: the model's name, or its place in the optimizer's groups."""
        places = {
            id(one): f"parameter {place} of group {index}"
            for index, group in enumerate(self._optimizer.param_groups)
            for place, one in enumerate(group["params"])
        }
        return places | {id(one): name for name, one in self._model.named_parameters()}

    def described(self) -> dict[str, list[int]]:
        """Names of the trained parameters in the order of the groups, with their shapes."""
        names = {id(one): name for name, one in self._model.named_parameters()}
        return {
            names.get(id(one), f"parameter {place} of group {index}"): list(one.shape)
            for index, group in enumerate(self.groups)
            for place, one in enumerate(group)
        }

    def state_dict(self) -> dict[str, Any]:
        """Names and shapes; the weights are the model's."""
        return {"trained": self.described(), "moves_always": self._moves_always}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Check that the trained parameters are those of the saved run.

        Raises:
            ValueError: they are not.
        """
        if list(state["trained"].items()) != list(self.described().items()):
            difference = _difference(state["trained"], self.described()) or "another order"
            raise ValueError(f"other parameters are trained than in the saved run, {difference}")
        self._moves_always = bool(state["moves_always"])
        self.settle()


def trained_groups(optimizer: InnerOptimizer) -> Groups:
    """Parameters of each parameter group that require a gradient."""
    return [[one for one in group["params"] if one.requires_grad] for group in optimizer.param_groups]


def _are_same(some: list[Any], others: list[Any]) -> bool:
    """The very same objects in the same order."""
    return len(some) == len(others) and all(map(is_, some, others))


def _layout(parameter: torch.Tensor) -> tuple[object, ...]:
    return parameter.shape, parameter.dtype, parameter.device


def _difference(before: Mapping[str, list[int]], now: Mapping[str, list[int]]) -> str:
    """What is trained now that was not, what no longer is, and what has another shape; "" if that is nothing."""
    told = {
        "trained": [name for name in now if name not in before],
        "no longer trained": [name for name in before if name not in now],
        "of another shape": [name for name in now if name in before and before[name] != now[name]],
    }
    return "; ".join(f"{what}: {_listed(names)}" for what, names in told.items() if names)


def _listed(names: list[str]) -> str:
    more = len(names) - _NUM_NAMES
    return ", ".join(names[:_NUM_NAMES]) + (f" and {more} more" if more > 0 else "")


def _repeated(parameters: list[torch.nn.Parameter]) -> list[int]:
    """Of parameters in one storage, largest first, the identities of those whose numbers were there before."""
    found: list[int] = []
    unit = min(one.element_size() for one in parameters)
    marks = torch.zeros(local(parameters[0]).untyped_storage().nbytes() // unit, dtype=torch.bool)
    for one in parameters:
        here, width = local(one), one.element_size() // unit
        sizes = [1 if stride == 0 else size for size, stride in zip(here.shape, here.stride(), strict=True)]
        strides = [stride * width for stride in here.stride()]
        marked = marks.as_strided((*sizes, width), (*strides, 1), here.storage_offset() * width)
        if marked.any():
            found.append(id(one))
        marked.fill_(True)
    return found
