"""Nested state survives the way through tensors and JSON bit for bit and type for type."""

import collections
import dataclasses
import enum
import itertools
import json
import math
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import BatchEncoding
from transformers.modeling_outputs import BaseModelOutput

from hpt.errors import CheckpointError
from hpt.numerics.containers import found_in
from hpt.trainer.codec import Unknown, can_hold, decode, encode

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TORCH_DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
    *(
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.uint16,
        torch.uint32,
        torch.uint64,
    ),
    *(torch.complex128, torch.complex64, torch.complex32, torch.bool),
]
NUMPY_DTYPES = st.one_of(
    hnp.scalar_dtypes(),
    hnp.unicode_string_dtypes(max_len=4),
    hnp.byte_string_dtypes(max_len=4),
    hnp.array_dtypes(max_size=3),
)


def round_trip(state: Any) -> Any:
    return decode(*encode(state))


def same(left: Any, right: Any) -> bool:
    """Equal in type, structure, order of keys and every bit."""
    return _skeleton(left) == _skeleton(right)


def _skeleton(value: Any) -> object:
    """Types, structure and bytes of a tree in values that compare by themselves."""
    if isinstance(value, dict):
        return type(value), [(type(key), key, _skeleton(one)) for key, one in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [_skeleton(one) for one in value]
    if isinstance(value, torch.Tensor):
        return torch.Tensor, value.dtype, value.shape, _bytes(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return type(value), value.dtype, value.shape, value.tobytes()
    return type(value), struct.pack("d", value) if isinstance(value, float) else value


def _bytes(tensor: torch.Tensor) -> bytes:
    packed = tensor.clone(memory_format=torch.contiguous_format)
    return packed.reshape(-1).view(torch.uint8).numpy().tobytes()


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Any dtype, any bits in it, any shape up to three axes, sometimes strided or reversed in axes."""
    dtype = draw(st.sampled_from(TORCH_DTYPES))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    size = math.prod(shape) * dtype.itemsize
    raw = draw(st.binary(min_size=size, max_size=size))
    if dtype == torch.bool:
        raw = bytes(one & 1 for one in raw)
    flat = torch.frombuffer(bytearray(raw), dtype=torch.uint8) if size else torch.empty(0, dtype=torch.uint8)
    tensor = flat.view(dtype).reshape(shape)
    how = draw(st.sampled_from(["plain", "transposed", "every_other"]))
    if how == "transposed":
        return tensor.permute(list(reversed(range(tensor.ndim))))
    return tensor[::2] if how == "every_other" and tensor.ndim else tensor


LEAVES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.integers(-(2**130), 2**130), st.text(max_size=5)),
    *(st.floats(), st.just(float("nan")), st.just(struct.unpack("d", b"\x01\0\0\0\0\0\xf0\x7f")[0])),
    tensors(),
    NUMPY_DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=3))),
    hnp.arrays(hnp.scalar_dtypes(), ()).map(lambda array: array[()]),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=3), st.just("$"), st.just("a/b")), inner, max_size=3),
        st.dictionaries(st.one_of(st.integers(), st.text(max_size=2)), inner, max_size=3),
        st.dictionaries(st.text(max_size=2), inner, max_size=2).map(collections.OrderedDict),
        st.dictionaries(st.integers(), st.integers(), max_size=2).map(collections.Counter),
    ),
    max_leaves=8,
)


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@QUICK
@example(tree=[torch.ones(1, dtype=one)[::2] for one in (torch.float32, torch.uint16)])
@given(tree=TREES)
def test_any_tree_comes_back_bit_for_bit_and_type_for_type(tree: Any) -> None:
    """decode(encode(x)) is x in every type, key order and bit, the payload of a NaN included."""
    assert same(round_trip(tree), tree)


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@QUICK
@given(tree=TREES)
def test_what_is_handed_out_is_fit_for_a_safetensors_file(tree: Any) -> None:
    """The flat tensors are contiguous, on the CPU and over separate memory, and the text is strict JSON."""
    flat, text = encode(tree)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    json.loads(text, parse_constant=refuse)
    owners = [one.untyped_storage().data_ptr() for one in flat.values() if one.numel()]
    assert len(set(owners)) == len(owners)
    assert all(one.is_contiguous() and one.device.type == "cpu" for one in flat.values())


def test_tied_tensors_are_stored_once_and_stay_tied() -> None:
    """Two names for one memory take one entry and come back as one tensor; a different view is another."""
    weight = torch.arange(6.0).reshape(2, 3)
    state = {"embedding": weight, "head": weight.view(2, 3), "turned": weight.t(), "row": weight[1]}
    flat, text = encode(state)
    back = decode(flat, text)
    assert len({one.untyped_storage().data_ptr() for one in flat.values()}) == len(flat) == 3
    assert back["embedding"].data_ptr() == back["head"].data_ptr()
    assert same(back, state)


def test_plain_cpu_tensors_are_not_copied() -> None:
    """A contiguous CPU tensor is handed to the writer itself: saving needs no second copy of the weights."""
    weight = torch.nn.Parameter(torch.ones(4))
    (stored,) = encode([weight])[0].values()
    assert stored.data_ptr() == weight.data_ptr()


def test_lazy_conjugates_and_sparse_tensors() -> None:
    """Views that only promise a conjugate are written out; sparse tensors keep indices, values and order."""
    value = torch.tensor([1 + 2j, 3 - 1j])
    back = round_trip([value, value.conj(), value.conj().imag, value.imag])
    assert torch.equal(back[0], value)
    assert torch.equal(back[1], torch.tensor([1 - 2j, 3 + 1j]))
    assert torch.equal(back[2], torch.tensor([-2.0, 1.0]))
    assert torch.equal(back[3], torch.tensor([2.0, -1.0]))
    indices = torch.tensor([[2, 0, 2], [1, 1, 1]])
    sparse = torch.sparse_coo_tensor(indices, torch.tensor([1.0, 2.0, 3.0]), (3, 2), check_invariants=True)
    for one in (sparse, sparse.coalesce()):
        copy = round_trip(one)
        assert (copy.is_coalesced(), copy.shape) == (one.is_coalesced(), one.shape)
        assert same([copy._indices(), copy._values()], [one._indices(), one._values()])


@pytest.mark.parametrize("kind", ["PCG64", "MT19937", "Philox", "SFC64"])
def test_random_generators_go_on_where_they_were(kind: str) -> None:
    """numpy, torch and Python generators draw the same numbers after the round trip of their state."""
    source = np.random.Generator(getattr(np.random, kind)(3))
    stream, plain = torch.Generator().manual_seed(3), random.Random(3)
    for draw in (source.random, plain.random, lambda: torch.rand(5, generator=stream)):
        draw()
    state = round_trip((source.bit_generator.state, stream.get_state(), plain.getstate()))
    other = np.random.Generator(getattr(np.random, kind)(9))
    other.bit_generator.state = state[0]
    assert same(other.random(9), source.random(9))
    assert same(torch.rand(9, generator=torch.Generator().set_state(state[1])), torch.rand(9, generator=stream))
    twin = random.Random(9)
    twin.setstate(state[2])
    assert twin.random() == plain.random()


class Colour(enum.StrEnum):
    RED = "red"


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclasses.dataclass(frozen=True)
class Record:
    x: Any
    names: list[str]

    def __post_init__(self) -> None:
        raise AssertionError("the class's code is not called when an object is rebuilt")


@dataclasses.dataclass(slots=True)
class Slotted:
    x: Any


class Attributes:
    def __init__(self, x: Any) -> None:
        self.x, self.inner = x, {"pair": Pair(x, 2)}


class Entries(dict[str, Any]):
    note = ""


def _record(x: torch.Tensor) -> Record:
    record = object.__new__(Record)
    for name, value in (("x", x), ("names", ["a"])):
        object.__setattr__(record, name, value)
    return record


def _entries(x: torch.Tensor) -> Entries:
    entries = Entries(x=x)
    entries.note = "kept"
    return entries


def _packed(x: torch.Tensor) -> torch.nn.utils.rnn.PackedSequence:
    return torch.nn.utils.rnn.pack_sequence([x, x[:2]])


CONTAINERS: dict[str, Callable[[torch.Tensor], Any]] = {
    "namedtuple": lambda x: Pair(x, [x, "text"]),
    "packed": _packed,
    "dataclass": _record,
    "slots": Slotted,
    "attributes": Attributes,
    "dict": _entries,
    "userdict": lambda x: collections.UserDict({"x": x}),
    "batch_encoding": lambda x: BatchEncoding({"input_ids": x, "labels": [1, 2]}),
    "model_output": lambda x: BaseModelOutput(last_hidden_state=x),
}


def _fields(value: Any) -> Any:
    """What is in an object, however it holds it."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_fields(one) for one in value]
    if isinstance(value, dict):
        return [(key, _fields(one)) for key, one in value.items()], _fields({**getattr(value, "__dict__", {})} or [])
    if dataclasses.is_dataclass(value):
        return [(one.name, _fields(getattr(value, one.name))) for one in dataclasses.fields(value)]
    return _fields(vars(value)) if hasattr(value, "__dict__") else value


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_come_back_as_what_they_were(name: str) -> None:
    """Named tuples, data classes, mappings of transformers: same type, same contents, no code of the class called."""
    value = CONTAINERS[name](torch.arange(3.0))
    back = round_trip({"batch": [value]})["batch"][0]
    assert type(back) is type(value)
    assert _fields(back) == _fields(value)
    assert not any(found_in(back, Unknown))


def test_a_type_that_is_not_imported_is_left_unknown() -> None:
    """Reading imports nothing and calls nothing: the rest of the state is there, the object's place says its type."""
    flat, text = encode({"batch": Pair(torch.ones(2), 1), "step": 7})
    name = f"{Pair.__module__}:Pair"
    assert name in text
    for other in ("no_such_module:Pair", f"{Pair.__module__}:NoSuch", "os:system", f"{Pair.__module__}:Pair.a.b"):
        assert decode(flat, text.replace(name, other)) == {"batch": Unknown(other), "step": 7}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.bool])
def test_strides_without_gaps_come_back(dtype: torch.dtype) -> None:
    """Every order of three axes, channels_last, axes of size 1; what has gaps comes back without."""
    tensors = [torch.rand(2, 3, 4).permute(order).to(dtype) for order in itertools.permutations(range(3))]
    tensors.append(torch.rand(2, 3, 1, 1).to(memory_format=torch.channels_last).to(dtype))
    back = round_trip(tensors)
    assert [one.stride() for one in back] == [one.stride() for one in tensors]
    assert same(back, tensors)
    assert round_trip(torch.rand(4, 6).to(dtype)[:, ::2]).stride() == (3, 1)


def _holds_itself() -> Any:
    value = Attributes(1)
    value.x = value
    return value


@dataclasses.dataclass
class Local:
    x: int


Local.__qualname__ = "somewhere.<locals>.Local"

UNKNOWN = {
    "set": {1},
    "bytes": b"x",
    "enum": Colour.RED,
    "path": Path("x"),
    "local": Local(1),
    "cycle": _holds_itself(),
    "module": torch.nn.Linear(1, 1),
    "object": object(),
    "iterator": iter([1]),
    "encoding": BatchEncoding({}, encoding=Tokenizer(WordLevel({"a": 0}, unk_token="a")).encode("a")),
    "deque": collections.deque([1]),
    "defaultdict": collections.defaultdict(int),
    "objects": np.array([None]),
    "masked": np.ma.masked_array([1.0], [True]),
    "record": np.zeros(1, dtype=[("a", "f4")])[0],
    "meta": torch.empty(2, device="meta"),
    "function": print,
    "odd_key": {1.5: 0},
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_types_are_refused_by_their_place(name: str) -> None:
    """What cannot be stored faithfully is refused in one line that gives the path to it."""
    with pytest.raises(CheckpointError, match=r"^state at trainer/3/history.* is a.*cannot hold.*$"):
        encode({"trainer": [0, 1, 2, {"history": UNKNOWN[name]}]})
    assert not can_hold(UNKNOWN[name])


def test_a_list_that_holds_itself_is_refused() -> None:
    """In one line, not in a RecursionError."""
    value: list[Any] = []
    value.append(value)
    with pytest.raises(CheckpointError, match="holds itself"):
        encode(value)
    assert not can_hold(value)


@pytest.mark.parametrize("text", ["{", '{"$":"what"}', '{"$":"array","key":"gone"}', '{"$":"tuple"}'])
def test_text_that_does_not_fit_is_refused(text: str) -> None:
    """Damaged JSON and dangling keys end in a CheckpointError, not in a traceback."""
    with pytest.raises(CheckpointError, match="not readable"):
        decode({}, text)
