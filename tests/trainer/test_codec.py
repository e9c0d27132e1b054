"""Nested state survives the way through tensors and JSON bit for bit and type for type."""

import collections
import enum
import json
import math
import random
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hpt.errors import CheckpointError
from hpt.trainer.codec import decode, encode

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
    a: int
    b: int


UNKNOWN = {
    "set": {1},
    "bytes": b"x",
    "enum": Colour.RED,
    "path": Path("x"),
    "namedtuple": Pair(1, 2),
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
    with pytest.raises(CheckpointError, match=r"^state at trainer/3/history is a.*cannot hold.*$"):
        encode({"trainer": [0, 1, 2, {"history": UNKNOWN[name]}]})


@pytest.mark.parametrize("text", ["{", '{"$":"what"}', '{"$":"array","key":"gone"}', '{"$":"tuple"}'])
def test_text_that_does_not_fit_is_refused(text: str) -> None:
    """Damaged JSON and dangling keys end in a CheckpointError, not in a traceback."""
    with pytest.raises(CheckpointError, match="not readable"):
        decode({}, text)
