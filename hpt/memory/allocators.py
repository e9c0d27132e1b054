"""What an allocator takes for so many bytes, and what operators need beside their results, on the host and on CUDA.

Most operators of torch need nothing. Those that do on the host leave convolutions and recurrent layers to oneDNN, which
lays their arguments out anew. What it allocates was read from torch's profiler, on a processor with AVX2, and is the
same for every size.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch

CUDA_BLOCK_BYTES = 512  # c10/cuda/CUDACachingAllocator: kMinBlockSize
PAGE_BYTES = 4096
MAPPED_BYTES = 2**16
"""From here on malloc maps a block by itself, in whole pages, as it is told to where host memory is measured."""
HEADER_BYTES = 80  # malloc's own sixteen, and torch's alignment to 64
CHANNEL_BLOCK = 8
"""Channels that oneDNN lays side by side; images of fewer are taken as they are."""
LSTM_GATES = 4
LSTM_KEPT = LSTM_GATES + 2
"""Numbers kept for the backward pass a cell and time step beside the input: gates, hidden and cell state. Twice as many
are allocated, for derivatives, and never touched before the layer's own backward pass."""
Tensors = Iterator[tuple[torch.Tensor, int]]


class Allocator(Protocol):
    """One kind of memory."""

    def rounded(self, count: int) -> int:
        """Bytes that are taken for so many."""
        ...

    def inside(self, func: Any, args: Sequence[Any]) -> int:
        """Bytes that an operator needs beside its results, while it runs."""
        ...

    def hidden(self, func: Any, args: Sequence[Any], result: Any) -> Tensors:
        """Results that are larger than their fake ones, with their bytes."""
        ...


class CudaBlocks:
    """torch's caching allocator: blocks of 512 bytes; workspaces of libraries are not known."""

    def rounded(self, count: int) -> int:
        """To whole blocks."""
        return -(-count // CUDA_BLOCK_BYTES) * CUDA_BLOCK_BYTES

    def inside(self, func: Any, args: Sequence[Any]) -> int:
        """Not known, counted as nothing."""
        return 0

    def hidden(self, func: Any, args: Sequence[Any], result: Any) -> Tensors:
        """None that are known."""
        return iter(())


class HostPages:
    """glibc's malloc, and oneDNN's needs."""

    def rounded(self, count: int) -> int:
        """To whole pages where a block is mapped."""
        if count < MAPPED_BYTES:
            return count + HEADER_BYTES if count else 0
        return -(-(count + HEADER_BYTES) // PAGE_BYTES) * PAGE_BYTES

    def inside(self, func: Any, args: Sequence[Any]) -> int:
        """Of convolutions and LSTMs, forward and backward, and of eigenvectors."""
        name = _name(func)
        if name == "aten::convolution":
            return _convolution(args[0], args[1], args[4])
        if name == "aten::convolution_backward":
            return _convolution_backward(args[0], args[1])
        if name == "aten::mkldnn_rnn_layer":
            return _lstm_gates(args) + args[1].nbytes + args[2].nbytes
        if name == "aten::mkldnn_rnn_layer_backward":
            return _lstm_gates(args) + 2 * (args[1].nbytes + args[2].nbytes)
        if name == "aten::_linalg_eigh":
            return 2 * args[0].nbytes  # LAPACK's syevd: 2 n^2 + 6 n + 1 numbers
        return 0

    def hidden(self, func: Any, args: Sequence[Any], result: Any) -> Tensors:
        """What oneDNN keeps of an LSTM for its backward pass."""
        if _name(func) == "aten::mkldnn_rnn_layer":
            yield result[3], args[0].nbytes + _lstm_gates(args) // LSTM_GATES * LSTM_KEPT


def allocator_of(device_type: str) -> Allocator:
    """Of "cuda", or of the host."""
    return CudaBlocks() if device_type == "cuda" else HostPages()


def _name(func: Any) -> str:
    return func.name().partition(".")[0]


def _convolution(images: torch.Tensor, filters: torch.Tensor, stride: Sequence[int]) -> int:
    """First the images and the result, then the result in both orders."""
    if _is_channels_last(images):
        return 0
    positions = math.prod(images.shape[2:]) // math.prod(stride)
    result = images.shape[0] * filters.shape[0] * positions * images.element_size()
    return max(_laid_out(images), result)


def _convolution_backward(grad: torch.Tensor, images: torch.Tensor) -> int:
    """Both arguments for the filters' gradient; the images' gradient in up to three orders."""
    if _is_channels_last(images):
        return 0
    laid_out, in_order = _laid_out(images), 0 if grad.is_contiguous() else grad.nbytes
    return in_order + laid_out + max(grad.nbytes, laid_out)


def _laid_out(images: torch.Tensor) -> int:
    return images.nbytes if images.shape[1] >= CHANNEL_BLOCK else 0


def _is_channels_last(images: torch.Tensor) -> bool:
    return images.ndim == 4 and not images.is_contiguous() and images.is_contiguous(memory_format=torch.channels_last)


def _lstm_gates(args: Sequence[Any]) -> int:
    """Bytes of all gates of a layer; inputs are (time, batch, width)."""
    inputs, hidden_weights = args[0], args[2]
    return inputs.shape[0] * inputs.shape[1] * hidden_weights.shape[0] * inputs.element_size()
