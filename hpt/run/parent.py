"""A process that works for another ends with it, however that one ends: nothing keeps computing for nobody."""

import select
import threading
from collections.abc import Callable


def end_with_parent(pipe: int, end: Callable[[], object]) -> None:
    """Call `end`, from a thread, when nobody holds the writing end of a pipe any more.

    A pipe and no process number is watched, because a wrapper may stand between the two, and numbers are used again.

    Args:
        pipe: its reading end; what is written there is left alone.
        end: ends this process, at once.
    """

    def watch() -> None:
        closed = select.poll()
        closed.register(pipe, 0)  # a hang-up is always told
        closed.poll()
        end()

    threading.Thread(target=watch, daemon=True).start()
