"""One measurement at a time: two that run at once would measure each other."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from hpt.jsonfiles import disk_errors


@contextmanager
def measuring(tell: Callable[[str], None]) -> Generator[None]:
    """Wait until no other command of this user measures on this machine, and keep others waiting while entered.

    Args:
        tell: is given one line if there is anything to wait for.

    Raises:
        DiskError: the lock among the system's temporary files cannot be opened.
        KeyboardInterrupt: Ctrl-C while waiting.
    """
    path = Path(tempfile.gettempdir()) / f"hpt-measuring-{os.getuid()}.lock"
    with disk_errors(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 20, 0).decode("ascii", errors="replace") or "another one"
            tell(f"waiting for process {holder}, which measures on this machine")
            fcntl.flock(handle, fcntl.LOCK_EX)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)
