"""Nested training state as a flat set of tensors and one JSON text, and back, bit for bit and type for type.

Tensors and arrays go to the flat set; everything else is JSON, in which a value that JSON has no word for is
an object with the key "$": tuples, dictionaries with whole-number keys, non-finite floats, large integers,
numpy scalars, and objects that are nothing but their parts (named tuples, data classes, mappings), with the name of
their type. Nothing is pickled, so reading a file never runs code from it: a type is looked up among those that the
program has imported, and none of its code is called; if it is not found, the object comes back as `Unknown`.
Tensors over the same memory (tied weights) are stored once and come back as one tensor; all come back on the CPU, with
the strides they had, if they had no gaps.
"""

import io
import json
import math
import struct
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, cast

import numpy as np
import torch

from hpt.errors import CheckpointError
from hpt.numerics.containers import MAX_DEPTH, Parts, put_together, taken_apart

_MAPPINGS: dict[str, type[dict[Any, Any]]] = {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter}
_LARGEST_JSON_INT = 2**63  # beyond it other readers of JSON lose digits
_NATIVE = {  # stored as they are; every other dtype as its bytes, as not every safetensors version knows it
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
}


@dataclass(frozen=True, slots=True)
class Unknown:
    """Stands for an object whose type, "module:name", this program has not imported."""

    kind: str


def encode(state: object) -> tuple[dict[str, torch.Tensor], str]:
    """Flat tensors (contiguous, on the CPU, no two over the same memory) and the JSON text of the rest.

    Tensors already of that kind are handed out themselves, not copied: write them before training goes on.

    Raises:
        CheckpointError: a value is of a type that cannot be stored; the message has its path in the tree.
    """
    encoder = _Encoder()
    try:
        text = json.dumps(encoder.node(state, ""), allow_nan=False, separators=(",", ":"))
    except RecursionError as error:
        raise _refusal("", "nested too deeply, or holds itself") from error
    return encoder.tensors, text


def decode(tensors: Mapping[str, torch.Tensor], text: str) -> Any:
    """Inverse of `encode`.

    Raises:
        CheckpointError: tensors and text do not belong together.
    """
    try:
        return _Decoder(tensors).value(json.loads(text))
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise CheckpointError(f"stored state is not readable ({type(error).__name__}: {error})") from error


def check(value: object) -> None:
    """Look through a tree for what cannot be stored.

    Raises:
        CheckpointError: as from `encode`.
    """
    try:
        _Checker().node(value, "")
    except RecursionError as error:
        raise _refusal("", "nested too deeply, or holds itself") from error


def can_hold(value: object) -> bool:
    """The value can be stored."""
    try:
        check(value)
    except CheckpointError:
        return False
    return True


class _Encoder:
    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self._key_of: dict[tuple[object, ...], str] = {}
        self._storages: set[int] = set()
        self._writers: dict[type, Callable[[Any, str], object]] = {
            **dict.fromkeys((str, bool, type(None)), lambda value, _: value),
            **dict.fromkeys((int, float), lambda value, _: _number(value)),
            **dict.fromkeys((torch.Tensor, torch.nn.Parameter), self._tensor),
            **dict.fromkeys(_MAPPINGS.values(), self._mapping),
            list: self._list,
            tuple: lambda value, path: {"$": "tuple", "items": self._list(value, path)},
            np.ndarray: self._array,
        }

    def node(self, value: Any, path: str) -> object:
        """JSON for one value of the tree."""
        kind = cast("type[Any]", type(value))
        writer = self._writers.get(kind, _scalar if issubclass(kind, np.generic) else self._object)
        return writer(value, path)

    def _object(self, value: Any, path: str) -> object:
        kind = cast("type[Any]", type(value))
        name = f"{kind.__module__}:{kind.__qualname__}"
        parts = taken_apart(value) if path.count("/") < MAX_DEPTH else None
        if parts is None or _type_called(name) is not kind:
            raise _refusal(path, f"a {kind.__module__}.{kind.__qualname__}")
        return {
            "$": "object",
            "kind": name,
            "items": self._list(parts.items, path),
            "entries": self._mapping(OrderedDict(parts.entries), path),
            "fields": self._mapping(parts.fields, path),
        }

    def _list(self, value: Sequence[Any], path: str) -> object:
        return [self.node(one, f"{path}/{index}") for index, one in enumerate(value)]

    def _mapping(self, value: dict[Any, Any], path: str) -> object:
        odd = [key for key in value if type(key) not in (str, int)]
        if odd:
            raise _refusal(path, f"a dictionary with the key {odd[0]!r}")
        entries = [(key, self.node(one, f"{path}/{key}")) for key, one in value.items()]
        if type(value) is dict and all(type(key) is str for key in value) and "$" not in value:
            return dict(entries)
        return {"$": type(value).__name__, "items": [[_number_or_text(key), one] for key, one in entries]}

    def _tensor(self, value: torch.Tensor, path: str) -> object:
        if type(value) not in (torch.Tensor, torch.nn.Parameter) or value.is_quantized or value.is_meta:
            raise _refusal(path, f"a tensor of the kind {type(value).__name__}, {value.dtype}, on {value.device}")
        if value.layout == torch.sparse_coo:
            return self._sparse(value.detach(), path)
        if value.layout != torch.strided:
            raise _refusal(path, f"a tensor of the layout {value.layout}")
        memory = (
            value.device,
            value.data_ptr(),
            value.shape,
            value.stride(),
            value.dtype,
            value.is_conj(),
            value.is_neg(),
        )
        if value.numel() == 0 or memory not in self._key_of:
            self._key_of[memory] = self._store(value.detach(), path)
        shape, dtype = list(value.shape), str(value.dtype).removeprefix("torch.")
        node = {"$": "tensor", "key": self._key_of[memory], "dtype": dtype, "shape": shape}
        return {**node, "stride": list(value.stride())} if _has_no_gaps(value) else node

    def _sparse(self, value: torch.Tensor, path: str) -> object:
        parts = (value._indices(), value._values())  # noqa: SLF001 (the public ones refuse what is not coalesced)
        names = ("indices", "values")
        nodes = {name: self._tensor(one, f"{path}/{name}") for name, one in zip(names, parts, strict=True)}
        return {"$": "sparse", **nodes, "shape": list(value.shape), "coalesced": value.is_coalesced()}

    def _array(self, value: np.ndarray[Any, Any], path: str) -> object:
        if value.dtype.hasobject:
            raise _refusal(path, "an array of Python objects")
        stream = io.BytesIO()
        np.lib.format.write_array(stream, value, version=(3, 0), allow_pickle=False)
        return {
            "$": "array",
            "key": self._store(torch.frombuffer(stream.getbuffer(), dtype=torch.uint8), path),
        }

    def _store(self, value: torch.Tensor, path: str) -> str:
        packed = value.resolve_conj().resolve_neg().cpu().contiguous()
        # A tensor of one element or none is contiguous with any stride; a view as bytes wants 1.
        flat = packed.as_strided((packed.numel(),), (1,))
        packed = flat.view(value.shape) if value.dtype in _NATIVE else flat.view(torch.uint8)
        storage = packed.untyped_storage().data_ptr()
        if storage in self._storages:
            packed = packed.clone()  # another part of memory already stored: safetensors wants them apart
            storage = packed.untyped_storage().data_ptr()
        self._storages.add(storage)
        name = path.lstrip("/").encode("ascii", "backslashreplace").decode()
        key = f"{len(self.tensors):06d}:{name}"
        self.tensors[key] = packed
        return key


class _Checker(_Encoder):
    """Looks, and takes nothing."""

    def _store(self, value: torch.Tensor, path: str) -> str:
        return ""


class _Decoder:
    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._tensors = tensors
        self._viewed: dict[str, torch.Tensor] = {}
        self._readers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "int": lambda node: int(node["hex"], 16),
            "float": lambda node: struct.unpack(">d", bytes.fromhex(node["hex"]))[0],
            "scalar": lambda node: np.ndarray((), node["dtype"], bytes.fromhex(node["hex"]))[()],
            "tuple": lambda node: tuple(self.value(one) for one in node["items"]),
            "tensor": self._tensor,
            "sparse": self._sparse,
            "array": self._array,
            "object": self._object,
        }

    def value(self, node: Any) -> Any:
        """The value that a piece of JSON stands for."""
        if isinstance(node, list):
            return [self.value(one) for one in cast("list[Any]", node)]
        if not isinstance(node, dict):
            return node
        fields = cast("dict[str, Any]", node)
        if "$" not in fields:
            return {key: self.value(one) for key, one in fields.items()}
        if fields["$"] in _MAPPINGS:
            items = {self.value(key): self.value(one) for key, one in fields["items"]}
            return _MAPPINGS[fields["$"]](items)
        return self._readers[fields["$"]](fields)

    def _tensor(self, node: dict[str, Any]) -> torch.Tensor:
        key, dtype = node["key"], getattr(torch, node["dtype"])
        if key not in self._viewed:
            stored = self._tensors[key]
            # A view needs aligned memory, which bytes inside a file need not have.
            view = stored if stored.dtype == dtype else stored.clone().view(dtype)
            self._viewed[key] = _strided(view.reshape(node["shape"]), node.get("stride"))
        return self._viewed[key]

    def _object(self, node: dict[str, Any]) -> Any:
        items, entries, fields = (self.value(node[name]) for name in ("items", "entries", "fields"))
        kind = _type_called(node["kind"])
        if kind is None:
            return Unknown(node["kind"])
        return put_together(kind, Parts(items, list(entries.items()), fields))

    def _sparse(self, node: dict[str, Any]) -> torch.Tensor:
        indices, values = self._tensor(node["indices"]), self._tensor(node["values"])
        coalesced = node["coalesced"]
        return torch.sparse_coo_tensor(  # pyright: ignore[reportUnknownMemberType]
            indices, values, node["shape"], is_coalesced=coalesced, check_invariants=True
        )

    def _array(self, node: dict[str, Any]) -> np.ndarray[Any, Any]:
        stream = io.BytesIO(self._tensors[node["key"]].numpy().data)
        return cast("np.ndarray[Any, Any]", np.lib.format.read_array(stream, allow_pickle=False))


def _type_called(name: str) -> type[Any] | None:
    """The type of this name, "module:name", if its module is imported."""
    module, _, path = name.partition(":")
    try:
        found: Any = reduce(getattr, path.split("."), sys.modules[module])
    except (KeyError, AttributeError):
        return None
    return cast("type[Any]", found) if isinstance(found, type) else None


def _has_no_gaps(tensor: torch.Tensor) -> bool:
    """Its elements fill their memory, each once, in whatever order of the axes."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return tensor.numel() > 0


def _strided(tensor: torch.Tensor, stride: Sequence[int] | None) -> torch.Tensor:
    if stride is None or list(tensor.stride()) == list(stride):
        return tensor
    return torch.empty_strided(tensor.shape, stride, dtype=tensor.dtype).copy_(tensor)


def _number(value: float) -> object:
    if isinstance(value, int):
        return value if abs(value) < _LARGEST_JSON_INT else {"$": "int", "hex": hex(value)}
    return value if math.isfinite(value) else {"$": "float", "hex": struct.pack(">d", value).hex()}


def _number_or_text(key: str | int) -> object:
    return key if isinstance(key, str) else _number(key)


def _scalar(value: "np.generic[Any]", path: str) -> object:
    if value.dtype.names is not None or value.dtype.hasobject:
        raise _refusal(path, f"a numpy {type(value).__name__}")
    return {"$": "scalar", "dtype": value.dtype.str, "hex": value.tobytes().hex()}


def _refusal(path: str, what: str) -> CheckpointError:
    return CheckpointError(
        f"state at {path.lstrip('/') or 'the top'} is {what}, which a checkpoint cannot hold; "
        "give numbers, text, arrays, tensors, or lists, tuples, dictionaries and data classes of such"
    )
