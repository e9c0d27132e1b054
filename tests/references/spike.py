"""Memory in use for a moment, mapped outside malloc, so that it comes and goes for certain."""

import mmap
import time

PAGE = 4096


def spike(num_bytes: int, seconds: float = 0.0) -> None:
    """Touch that many bytes, hold them, and give them back."""
    with mmap.mmap(-1, num_bytes) as block:
        for place in range(0, num_bytes, PAGE):
            block[place] = 1
        time.sleep(seconds)
