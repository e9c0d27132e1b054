"""When several processes stop: at the same call, wherever Ctrl-C or SIGTERM came."""

import time
from collections.abc import Callable

import numpy as np

from hpt.history import FloatArray
from hpt.run.signals import StopRequest

ASKED_EVERY_S = 1.0


class StopAgreement:
    """Asks the processes about once a second, and at least every `max_calls` calls, whether one of them was to stop.

    How long a call takes is averaged in the same message, so that all ask next before the same call.

    Args:
        stop: asked of this process.
        mean: of (n,) numbers over the processes, the same bits in each.
        max_calls: calls that may pass without asking, 1 or more.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        stop: StopRequest,
        mean: Callable[[FloatArray], FloatArray],
        max_calls: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stop, self._mean, self._max_calls, self._clock = stop, mean, max_calls, clock
        self._num_calls, self._interval, self._since_s = 0, 1, clock()

    @property
    def is_made(self) -> bool:
        """All processes stop now; every process asks for this before the same calls."""
        if self._num_calls == self._interval:
            asked, call_s = self._mean(np.array([float(self._stop.is_made), self._call_s()])).tolist()
            if asked > 0.0:
                return True
            self._interval = int(min(max(ASKED_EVERY_S / max(call_s, 1e-9), 1.0), self._max_calls))
            self._num_calls, self._since_s = 0, self._clock()
        self._num_calls += 1
        return False

    def _call_s(self) -> float:
        """Seconds a call since the processes were last asked."""
        return (self._clock() - self._since_s) / self._num_calls
