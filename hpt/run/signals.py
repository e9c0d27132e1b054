"""Stopping: between two steps where something can be saved, at once where everything finished is stored already."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

ASKS_TO_STOP = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """While entered, notes Ctrl-C and SIGTERM, for a loop that obeys when its step is complete.

    A second Ctrl-C does not wait: it raises KeyboardInterrupt where the program stands.
    """

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


@contextmanager
def sigterm_interrupts() -> Generator[None]:
    """SIGTERM raises KeyboardInterrupt, as Ctrl-C does; nothing changes outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (a signal handler's arguments)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
