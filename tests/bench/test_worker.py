"""The control."""

from hpt.bench.worker import measure_control


def test_it_takes_the_time_of_one_round() -> None:
    """Twenty thousand iterations of the interpreter take between a tenth of a millisecond and a second anywhere."""
    assert 1e-4 < measure_control() < 1
