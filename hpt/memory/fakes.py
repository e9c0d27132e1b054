"""Fake tensors, which have shapes and no bytes, and copies of models and optimizers made of them.

The one place that meets the parts of torch on which estimates lean and which torch calls private: FakeTensorMode, and
the mode that sees every operator.

The fake tensors stand on the CPU wherever the original is, because autograd on fake CUDA tensors ends the process of a
torch without CUDA, and one on the meta device would be treated as no CPU tensor is.
"""

import copy
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from hpt.errors import ModelError, PrerequisiteError
from hpt.optimizers.stored import tensors_in

TESTED = "2.13"  # the version in constraints.txt
try:
    from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
    from torch.utils._python_dispatch import TorchDispatchMode
except ImportError as error:
    raise PrerequisiteError(
        f"torch {torch.__version__} has no {error.name}, on which memory is estimated without allocating any; "
        f"install the version that was tested, pip install torch=={TESTED}.*"
    ) from error

Dispatched = TorchDispatchMode
"""Base of a mode that is shown every operator with its arguments."""
Copied = TypeVar("Copied")


def fake_mode() -> AbstractContextManager[Any]:
    """Inside, operators make fake tensors; real ones among their arguments are taken for fake ones of their shape."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def outside_fakes() -> AbstractContextManager[Any]:
    """Inside, tensors are real although `fake_mode` is in force around it."""
    return unset_fake_temporarily()


def address_of(storage: torch.UntypedStorage) -> int:
    """Where a storage is, the same for all who hold it; also of one without bytes."""
    return storage._cdata  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def storages_of(tensor: torch.Tensor) -> list[torch.UntypedStorage]:
    """The memory behind a tensor."""
    if tensor.layout == torch.strided:
        return [tensor.untyped_storage()]
    if tensor.layout == torch.sparse_coo:
        return [tensor._indices().untyped_storage(), tensor._values().untyped_storage()]  # noqa: SLF001
    return []


class Fakes:
    """Copies of objects with a fake CPU tensor in the place of every tensor; use under `fake_mode`.

    One tensor has one copy wherever it is met, so ties stay ties, and what shares memory shares it in the copies. The
    originals are only read.

    Args:
        dtype: of floating-point numbers in place of their own; None: as they are. Single numbers stay.
    """

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        self._dtype = dtype
        self._memo: dict[int, Any] = {}
        self._bases: dict[tuple[int, torch.dtype], torch.Tensor] = {}
        self._alive: list[torch.Tensor] = []  # an address in use is no other tensor's

    def model(self, model: torch.nn.Module) -> torch.nn.Module:
        """A copy of a model; of one that was compiled, of what it was made from.

        Raises:
            ModelError: it cannot be copied.
        """
        plain = cast("torch.nn.Module", getattr(model, "_orig_mod", model))
        self._meet((*plain.parameters(), *plain.buffers()), self._dtype)
        return self._copied(plain, f"the model, a {type(plain).__qualname__},")

    def optimizer(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """A copy of an optimizer over the copies of its parameters; it knows of no scheduler.

        Raises:
            ModelError: it cannot be copied.
        """
        name = type(optimizer).__qualname__
        held = {key: one for key, one in vars(optimizer).items() if key != "step"}  # a scheduler's, around the original
        self._meet(tensors_in([held.get("param_groups", []), list(held.get("state", {}).values())]), self._dtype)
        made = object.__new__(type(optimizer))
        self._memo[id(optimizer)] = made
        made.__dict__.update(self._copied(held, f"the optimizer, a {name},"))
        return made

    def batch(self, batch: Copied) -> Copied:
        """A copy of a batch.

        Raises:
            ModelError: it cannot be copied.
        """
        self._meet((one for one in tree_leaves(batch) if isinstance(one, torch.Tensor)), self._dtype)
        return self._copied(batch, f"the batch, a {type(batch).__qualname__},")

    def _meet(self, tensors: Iterable[torch.Tensor], dtype: torch.dtype | None = None) -> None:
        for one in tensors:
            if id(one) not in self._memo:
                self._alive.append(one)
                self._memo[id(one)] = self._like(one, dtype if one.is_floating_point() else None)

    def _copied(self, value: Copied, what: str) -> Copied:
        try:
            with _TensorsCopied(self._memo, self._like):
                return copy.deepcopy(value, self._memo)
        except Exception as error:
            raise ModelError(
                f"{what} cannot be copied ({type(error).__name__}: {error}); "
                "what no copy can be made of must stay outside it"
            ) from error

    def _like(self, tensor: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        """A fake tensor of that shape in that order; a parameter stays one."""
        fake = self._plain(tensor, dtype or tensor.dtype)
        if isinstance(tensor, torch.nn.Parameter):
            fake = torch.nn.Parameter(fake, tensor.requires_grad)
            for name, mark in vars(tensor).items():
                setattr(fake, name, mark)
        elif tensor.requires_grad:
            fake.requires_grad_()
        return fake

    def _plain(self, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        if tensor.layout != torch.strided:
            return torch.zeros(tensor.shape, dtype=dtype, layout=tensor.layout)
        if tensor.numel() == 1 and not tensor.is_meta and not isinstance(tensor, torch.nn.Parameter):
            with outside_fakes():
                value = tensor.item()
            return torch.tensor(value, dtype=tensor.dtype).reshape(tensor.shape)  # it may be asked for its value
        storage = tensor.untyped_storage()
        key = address_of(storage), dtype
        if key not in self._bases and storage.nbytes() == tensor.nbytes:
            self._bases[key] = torch.empty_strided(tensor.shape, tensor.stride(), dtype=dtype)
            return self._bases[key]
        if key not in self._bases:
            self._bases[key] = torch.empty(storage.nbytes() // tensor.element_size(), dtype=dtype)
        return self._bases[key].as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


class _TensorsCopied(TorchFunctionMode):
    """Inside, `copy.deepcopy` of a tensor is the fake one."""

    def __init__(self, memo: dict[int, Any], like: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self._memo, self._like = memo, like

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.__deepcopy__:
            return self._memo.setdefault(id(args[0]), self._like(args[0]))
        return func(*args, **(kwargs or {}))
