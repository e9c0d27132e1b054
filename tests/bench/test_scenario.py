"""What a set-up may hand over."""

import pytest

from hpt.bench.scenario import Measured, SelfCheckFailed, require
from hpt.errors import ConfigError


def _nothing() -> None:
    pass


def test_a_claim_that_holds_passes() -> None:
    """And one that does not is quoted."""
    require([1], "there is something")
    with pytest.raises(SelfCheckFailed, match="there is something"):
        require([], "there is something")


def test_exactly_one_way_of_measuring_is_given() -> None:
    """Neither or both would leave open what is timed."""
    with pytest.raises(ConfigError, match="one of the two"):
        Measured(check=_nothing)
    with pytest.raises(ConfigError, match="one of the two"):
        Measured(check=_nothing, call=list, time_loops=float)
