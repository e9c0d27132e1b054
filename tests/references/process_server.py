"""The server from which this process's children are forked, with everything imported that any test wants of them.

`multiprocessing` has one server a process, and what it imports is settled by whoever starts it. Left to chance, a test
whose jobs want little starts it, and each later child imports torch by itself, for seconds.
"""

import multiprocessing
from multiprocessing import forkserver

import pytest

PRELOADED = ["torch._dynamo", "hpt.cli.train", "hpt.compare.training", "hpt.learned.learner", "hpt.predictors.selector"]


def start_process_server() -> None:
    """Start it, unless it runs; it imports while this process goes on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONSAFEPATH", "1")  # as hpt.run.processes starts it
        multiprocessing.set_forkserver_preload(PRELOADED)
        forkserver.ensure_running()
