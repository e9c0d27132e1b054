"""Stopping a run between two steps: Ctrl-C and SIGTERM ask, and the loop obeys when the step is complete.

A second Ctrl-C does not wait: it raises KeyboardInterrupt where the program stands.
"""

import signal
from types import FrameType
from typing import Any, Self

ASKS_TO_STOP = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """While entered, notes that the process was asked to stop; then the signals do what they did before."""

    def __init__(self) -> None:
        self.is_made = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in ASKS_TO_STOP}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.is_made and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.is_made = True
