"""The process of one cell: trains it, sends the result through a pipe, and ends.

It writes no file. Ctrl-C is the parent's business; when the parent is gone, the cell stops at its next call, so that
nothing keeps computing for nobody.
"""

import os
import signal
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

from hpt.compare.cells import Cell
from hpt.compare.training import Abandoned, train_cell
from hpt.errors import HptError


def run(pipe: Connection, values: dict[str, Any]) -> None:
    """Train the cell that `values` describe and send {"result": ...} or {"error": one line, "exit_code": ...}."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    try:
        answer: dict[str, Any] = {
            "result": asdict(train_cell(Cell.from_document(values), lambda: os.getppid() == parent))
        }
    except Abandoned:
        return
    except Exception as error:  # noqa: BLE001 (the parent decides what becomes of it)
        name = "" if isinstance(error, HptError) else f"{type(error).__name__}: "
        answer = {"error": name + " ".join(str(error).split()), "exit_code": getattr(error, "exit_code", 1)}
    pipe.send(answer)
    pipe.close()
