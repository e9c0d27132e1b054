"""Layer 5: telling that memory ran out, in all the words that torch and Python have for it."""

import torch

# c10/core/impl/alloc_cpu.cpp and the message of Windows; a plain RuntimeError on the host, unlike on CUDA
_HOST_WORDS = ("DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """The error says that memory ran out, on the device or on the host."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _HOST_WORDS)
