"""Standard output and standard error of the command: whoever reads them may go away, and user code may print.

A line of progress that nobody reads is lost, and the run goes on; so is what stands on stdout after `| head` has seen
enough, and the exit code stays the command's own. A result that cannot be written, on a full disk, is an error.
"""

import errno
import io
import os
import sys
from typing import Any

from hpt.errors import DiskError

STDIN, STDOUT, STDERR = 0, 1, 2


class _OutlastingFile(io.FileIO):
    """A stream that goes on without its reader, and with `is_lossy` without a disk, too."""

    def __init__(self, number: int, *, is_lossy: bool) -> None:
        super().__init__(number, "w", closefd=False)
        self._is_lossy = is_lossy

    def write(self, data: Any, /) -> int | None:
        """Write, or pretend to.

        Raises:
            DiskError: results cannot be written; told once.
        """
        try:
            return super().write(data)
        except OSError as error:
            if not self._is_lossy and error.errno != errno.EPIPE:
                self._is_lossy = True
                raise DiskError(f"standard output cannot be written ({error.strerror}); free some space") from error
            return len(data)


def take_streams() -> None:
    """Give this process a stdout that is for results alone, and streams that outlast their readers.

    Whatever writes below Python, or inherits stdout, writes to stderr.
    """
    for number in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(number)
        except OSError:  # closed by the caller: the next file that is opened would take its place
            os.open(os.devnull, os.O_RDWR)
    results = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    sys.stdout = _outlasting(sys.stdout, results, is_lossy=False)
    sys.stderr = _outlasting(sys.stderr, STDERR, is_lossy=True)


def _outlasting(before: Any, number: int, *, is_lossy: bool) -> io.TextIOWrapper:
    """In the encoding of the stream whose place it takes, which is None where that was closed."""
    return io.TextIOWrapper(
        io.BufferedWriter(_OutlastingFile(number, is_lossy=is_lossy)),
        encoding=getattr(before, "encoding", "utf-8"),
        errors=getattr(before, "errors", "backslashreplace"),
        line_buffering=is_lossy or os.isatty(number),
    )
