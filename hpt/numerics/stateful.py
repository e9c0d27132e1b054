"""State that is declared once: a class names its fields in `_state`, and saving and restoring follow from that.

Restoring is bit for bit. Arrays are filled in place, so that views on them stay valid.
"""

import copy
from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import numpy as np

from hpt.errors import CheckpointError


class Stateful:
    """Base of objects whose state is some of their fields.

    `_state` names the fields that a class adds to its bases'; in the state they go without leading underscores. A field
    may be a plain value, an array, a tensor, a queue, a generator of random numbers, an object with a state_dict, or a
    dictionary of such objects. What is derived from them is recomputed by an override of `load_state_dict`.
    """

    _state: ClassVar[tuple[str, ...]] = ()

    def state_dict(self) -> dict[str, Any]:
        """Copies of everything needed to continue bit for bit."""
        return {name.lstrip("_"): _saved(getattr(self, name)) for name in _fields(type(self))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`.

        Raises:
            CheckpointError: an array was saved with another shape.
        """
        for name in _fields(type(self)):
            setattr(self, name, _restored(getattr(self, name), state[name.lstrip("_")], name))


def _fields(kind: type) -> list[str]:
    """What the class and its bases declare."""
    return [name for one in reversed(kind.__mro__) for name in vars(one).get("_state", ())]


def _saved(value: Any) -> Any:
    if isinstance(value, Stateful):
        return value.state_dict()
    if isinstance(value, dict):
        return {key: _saved(one) for key, one in cast("dict[Any, Any]", value).items()}
    if isinstance(value, np.random.Generator):
        value = value.bit_generator.state
    elif hasattr(value, "state_dict"):
        value = value.state_dict()
    elif hasattr(value, "get_state"):  # a generator of torch, which is not imported here
        value = value.get_state()
    return list(cast("deque[Any]", value)) if isinstance(value, deque) else copy.deepcopy(value)


def _restored(present: Any, saved: Any, name: str) -> Any:
    """The field's new value, which is the present object where that has to stay."""
    if saved is None or isinstance(present, deque):
        return saved if saved is None else deque(saved, maxlen=cast("deque[Any]", present).maxlen)
    if isinstance(present, dict):
        now = cast("dict[Any, Any]", present)
        return {key: _restored(now.get(key), one, f"{name}[{key}]") for key, one in saved.items()}
    if isinstance(present, np.random.Generator):
        present.bit_generator.state = saved
    elif hasattr(present, "load_state_dict"):
        present.load_state_dict(saved)
    elif hasattr(present, "set_state"):
        present.set_state(saved)
    elif isinstance(present, np.ndarray):
        if np.shape(saved) != present.shape:
            raise CheckpointError(
                f"{name.lstrip('_')} was saved with shape {np.shape(saved)}, here it is {present.shape}; "
                "use the settings of the saved run"
            )
        present[...] = saved
    else:
        return copy.deepcopy(saved)
    return cast("Any", present)
