"""The child's side of a job: calls its function, sends what that yields, and says how it ended.

What the function or a library prints goes to a file, so that stdout of the command stays data. Ctrl-C is the
parent's business; when the parent is gone, so is the child, and nothing keeps computing for nobody.
"""

import importlib
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from hpt.errors import HptError, OutOfMemory
from hpt.plugins import FAILURES, one_line
from hpt.run.parent import end_with_parent

Document = dict[str, Any]


def serve(pipe: Connection, target: str, arguments: Mapping[str, Any], words_file: str) -> None:
    """Send ("document", ...) for everything that `target(arguments)` yields, then ("end", exit code, message)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _print_to(words_file)
    parent = multiprocessing.parent_process()
    assert parent is not None, "a job runs in a process that multiprocessing started"
    end_with_parent(parent.sentinel, lambda: os._exit(1))
    code, message = 0, ""
    try:
        for document in _function(target)(arguments):
            pipe.send(("document", document))
    except FAILURES as error:  # the parent decides what becomes of it
        traceback.print_exc()
        code, message = _ended_by(error)
    pipe.send(("end", code, message))
    pipe.close()


def _function(target: str) -> Callable[[Mapping[str, Any]], Iterable[Document]]:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def _print_to(words_file: str) -> None:
    file = os.open(words_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)


def _ended_by(error: BaseException) -> tuple[int, str]:
    """Exit code and one line."""
    if isinstance(error, HptError):
        return error.exit_code, one_line(error)
    if _is_out_of_memory(error):
        return OutOfMemory.exit_code, f"out of memory: {' '.join(str(error).split())}"
    return HptError.exit_code, one_line(error)


def _is_out_of_memory(error: BaseException) -> bool:
    if "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from hpt.memory.manager import is_out_of_memory  # noqa: PLC0415 (imports torch)

    return is_out_of_memory(error)
