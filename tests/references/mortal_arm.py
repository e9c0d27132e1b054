"""An arm of which one process is killed half-way; the others go on, and wait for it."""

import os
import signal
from collections.abc import Generator, Mapping
from typing import Any

from hpt.validate.arm import run_arm

DIES = 1
"""Rank of the process that is killed."""
LAST_STEP = 2


def act(arguments: Mapping[str, Any]) -> Generator[dict[str, Any]]:
    """As `run_arm`, until then."""
    for line in run_arm(arguments):
        yield line
        if arguments["place"]["rank"] == DIES and line.get("step") == LAST_STEP:
            os.kill(os.getpid(), signal.SIGKILL)
