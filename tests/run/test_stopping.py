"""When several processes stop: all before the same call, wherever and whenever the signal came."""

from collections.abc import Callable, Iterator
from threading import Barrier, Thread

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hpt.history import FloatArray
from hpt.run.signals import StopRequest
from hpt.run.stopping import StopAgreement

CALLS = 200


class Run:
    """Processes as threads, each with a clock of its own, which meet where they average.

    Args:
        call_s: seconds a call takes, by process.
        asked: process and call in which the signal comes.
        max_calls: see `StopAgreement`.
    """

    def __init__(self, call_s: list[float], asked: tuple[int, int] | None, max_calls: int) -> None:
        self.num_messages = 0
        self._values: list[FloatArray] = [np.zeros(2)] * len(call_s)
        self._barrier = Barrier(len(call_s), timeout=2.0)
        self._asked, self._max_calls = asked, max_calls
        self.stopped_before = [CALLS] * len(call_s)
        threads = [Thread(target=self._process, args=(rank, one)) for rank, one in enumerate(call_s)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

    def _mean(self, rank: int) -> Callable[[FloatArray], FloatArray]:
        def mean(values: FloatArray) -> FloatArray:
            self._values[rank] = values
            self._barrier.wait()
            found = np.mean(self._values, axis=0)
            self._barrier.wait()
            self.num_messages += rank == 0
            return found

        return mean

    def _process(self, rank: int, call_s: float) -> None:
        stop, now = StopRequest(), 0.0
        agreed = StopAgreement(stop, self._mean(rank), self._max_calls, lambda: now)
        for call in range(CALLS):
            if agreed.is_made:
                self.stopped_before[rank] = call
                return
            stop.is_made = stop.is_made or self._asked == (rank, call)
            now += call_s


def seconds() -> st.SearchStrategy[float]:
    return st.floats(1e-4, 3.0)


@settings(max_examples=30, deadline=None, phases=[Phase.generate])  # each run that disagrees waits for nobody
@given(st.lists(seconds(), min_size=2, max_size=3), st.integers(0, 1), st.integers(0, CALLS - 60), st.integers(1, 50))
def test_all_stop_before_the_same_call(call_s: list[float], rank: int, call: int, max_calls: int) -> None:
    """After the one in which the signal came, and no later than `max_calls` calls on."""
    run = Run(call_s, (rank, call), max_calls)
    (before,) = set(run.stopped_before)
    assert call < before <= call + max_calls


def asked_at(call_s: float, max_calls: int) -> Iterator[int]:
    """Calls before which processes ask whose calls take so long: the second, then by the rule, written out."""
    call = 1
    while call < CALLS:
        yield call
        call += min(max(1, int(1.0 / call_s)), max_calls)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([0.001, 0.125, 0.5, 4.0]), st.integers(1, 50))
def test_a_message_is_sent_once_a_second_or_in_so_many_calls(call_s: float, max_calls: int) -> None:
    """And before every call where one takes longer than a second."""
    run = Run([call_s, call_s], None, max_calls)
    assert run.stopped_before == [CALLS, CALLS]
    assert run.num_messages == len(list(asked_at(call_s, max_calls)))
