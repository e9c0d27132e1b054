"""Every test of this folder begins with no idle pages in the heap, whatever ran before it in this process."""

import pytest

from hpt.memory.cleanup import trim_heap


@pytest.fixture(autouse=True)
def _trimmed_heap() -> None:
    trim_heap()
