"""Jobs for the runner of processes: each does one thing that a job may do."""

import os
import signal
import sys
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from hpt.errors import DataError

Document = dict[str, Any]


def count(arguments: Mapping[str, Any]) -> Generator[Document]:
    """Send numbers below `n`."""
    for number in range(arguments["n"]):
        yield {"number": number}


def tell(arguments: Mapping[str, Any]) -> Generator[Document]:
    """Say which process this is, what it imported and what is in its environment."""
    yield {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "has_torch": "torch" in sys.modules,
        "variable": os.environ.get("HPT_TEST_VARIABLE"),
    }


def speak(arguments: Mapping[str, Any]) -> Generator[Document]:
    """Print to both streams, from Python and from below it."""
    sys.stdout.write("a library's word\n")
    sys.stdout.flush()
    os.write(2, b"a warning from C\n")
    yield {"spoke": True}


def refuse(arguments: Mapping[str, Any]) -> Generator[Document]:
    """Send one document, then raise what the user is to be told."""
    yield {"number": 0}
    raise DataError("data is missing;\nput it there")


def stumble(arguments: Mapping[str, Any]) -> Generator[Document]:
    """Raise by accident."""
    yield {"number": 1 // arguments["zero"]}


def exhaust(arguments: Mapping[str, Any]) -> Generator[Document]:
    """Run out of memory, in Python's words."""
    yield {"number": 0}
    raise MemoryError("no more")


def die(arguments: Mapping[str, Any]) -> Generator[Document]:
    """Send one document and be killed."""
    yield {"number": 0}
    os.kill(os.getpid(), signal.SIGKILL)


def leave(arguments: Mapping[str, Any]) -> Generator[Document]:
    """End the interpreter behind the runner's back, with status 0."""
    yield {"number": 0}
    os._exit(0)


def sleep(arguments: Mapping[str, Any]) -> Generator[Document]:
    """Say the process, then last for `seconds`; with `deaf`, SIGTERM does not help."""
    if arguments.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield {"pid": os.getpid()}
    time.sleep(arguments["seconds"])
    if "file" in arguments:
        Path(arguments["file"]).write_text("survived")
