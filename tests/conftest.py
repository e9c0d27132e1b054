"""Shared test set-up: `references` can be imported, torch uses one thread, measurements and children start at once."""

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing.util import get_temp_dir
from pathlib import Path
from shutil import disk_usage

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of numpy as of torch, here and in children; read when they are imported
import torch

START_CHILDREN = {"cli", "compare", "distributed", "docs", "e2e", "hooks", "run", "trainer", "validate"}
"""Folders of tests whose children are forked from a server."""
MARK = "processes"
IN_MEMORY = Path("/dev/shm")
ROOM_BYTES = 2 * 1024**3
PLACE = "PYTEST_DEBUG_TEMPROOT"
"""Environment variable: pytest's, where it makes the folders of tests."""

if PLACE not in os.environ and os.access(IN_MEMORY, os.W_OK) and disk_usage(IN_MEMORY).free > ROOM_BYTES:
    os.environ[PLACE] = str(IN_MEMORY)  # tests write ten thousand small files, each of which a disk lets wait

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)
gc.disable()  # what is imported and collected stays, about a million objects, which need not be searched for garbage


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m processes` a file without that word has no such test, and need not be imported to find that out."""
    is_passed_over = (
        config.getoption("markexpr") == MARK
        and collection_path.suffix == ".py"
        and MARK not in collection_path.read_text(encoding="utf-8")
    )
    return is_passed_over or None


def pytest_collection_finish(session: pytest.Session) -> None:
    """From here on garbage is collected, among what tests make; where children will be wanted, their server starts.

    It imports what they need while the first tests run.
    """
    gc.freeze()
    gc.enable()
    if any(item.path.parent.name in START_CHILDREN for item in session.items):
        from references.process_server import start_process_server

        start_process_server()


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_the_disk() -> Iterator[None]:
    """Files are asked to be safe from a loss of power thousands of times, and no test cuts it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One measurement waits for another on a machine, by a lock among temporary files; those of a test need not."""
    tmp_path_factory.getbasetemp()  # stays where it can be looked at afterwards
    place = os.environ.get(PLACE)
    get_temp_dir()  # multiprocessing's own, which it removes itself when the process ends
    with (
        tempfile.TemporaryDirectory(prefix="hpt-tests-", dir=place, ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(tempfile, "tempdir", folder)
        patch.setenv("TMPDIR", folder)
        yield
