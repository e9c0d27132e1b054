"""Numbers of several processes: averaged, or-ed, compared; nothing is sent where there is one."""

import math
from pathlib import Path

import numpy as np
from references.host_processes import in_all

from hpt.distributed.together import Together


def test_one_process_has_its_own_numbers() -> None:
    """The very same array, and no group is needed."""
    together, values = Together(), np.array([1.0, math.nan])
    assert together.num_processes == 1
    assert together.mean(values) is values
    assert together.any(flag=True)
    assert not together.any(flag=False)
    assert together.agree(3.0)


def test_several_have_the_same(tmp_path: Path) -> None:
    """Means, a NaN in one for all; a flag of one for all; numbers that differ do not agree; a group of one is alone."""
    told = in_all("together", tmp_path)
    for rank, one in enumerate(told):
        assert one["num"] == 2
        assert one["mean"][:2] == [0.5, 0.1]
        assert math.isnan(one["mean"][2])
        assert one["any"] == [False, True, True]
        assert one["agree"] == [True, False]
        assert one["alone"] == (1, [float(rank)])
