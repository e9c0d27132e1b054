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
    assert together.any([True, False]) == [True, False]
    assert together.are_alike("mine")
    assert together.agree(lambda: [3.0, 4.0]) == [3.0, 4.0]
    assert together.all_of("mine") == together.to_first("mine") == ["mine"]
    assert together.once(lambda: 5) == 5


def test_several_have_the_same(tmp_path: Path) -> None:
    """Means, and a NaN, a flag or a failure of one for all; the first one's word; a group of one is alone."""
    told = in_all("together", tmp_path)
    for rank, one in enumerate(told):
        assert one["num"] == 2
        assert one["mean"][:2] == [0.5, 0.1]
        assert math.isnan(one["mean"][2])
        assert one["add"] == [1.0, 1.0]
        assert one["alike"] == [True, False]
        assert one["any"] == [False, True, True]
        assert one["all_of"] == ["of 0", "of 1"]
        assert one["to_first"] == ([] if rank else ["of 0", "of 1"])
        assert one["agree"] == [2.25]
        assert one["failed"] == ("ZeroDivisionError" if rank == 1 else "FailedElsewhere")
        assert one["once"] == "from 0"
        assert one["failed_once"] == ("ZeroDivisionError" if rank == 0 else "FailedElsewhere")
        assert one["alone"] == (1, [float(rank)])
