"""Functions run in a new process that has imported torch and done nothing else.

It is forked from multiprocessing's fork server, as the cells of a comparison are: as ignorant of this process as an
interpreter of its own, and seconds sooner at work.
"""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from references.process_server import start_process_server


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, a signal's number negated; and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


class FreshProcess:
    """A process at work.

    Args:
        target: "module:function"; what the function returns is the exit code.
        arguments: of the function, picklable.
        environment: variables set besides those of the server.
        has_children: it may start processes, of the same server.
    """

    def __init__(
        self,
        target: str,
        arguments: Sequence[Any],
        environment: Mapping[str, str] | None = None,
        *,
        has_children: bool = False,
    ) -> None:
        start_process_server()
        context: Any = multiprocessing.get_context("forkserver")
        self._folder = tempfile.TemporaryDirectory()
        self._streams = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        work = (target, tuple(arguments), dict(environment or {}), str(Path.cwd()), list(map(str, self._streams)))
        self._process = context.Process(target=_enter, args=work, daemon=not has_children)
        self._process.start()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def end(self, timeout_s: float = 120.0) -> Ended:
        """Wait until it is over."""
        self._process.join(timeout_s)
        assert self._process.exitcode is not None, f"still running after {timeout_s} s"
        ended = Ended(self._process.exitcode, *(stream.read_text(encoding="utf-8") for stream in self._streams))
        self._folder.cleanup()
        return ended


def run_fresh(target: str, *arguments: Any, environment: Mapping[str, str] | None = None) -> Ended:
    """Call a function in a new process and wait for its end."""
    return FreshProcess(target, arguments, environment).end()


def _enter(
    target: str, arguments: tuple[Any, ...], environment: dict[str, str], folder: str, streams: list[str]
) -> None:
    for number, path in enumerate(streams, start=1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    os.chdir(folder)
    os.environ.update(environment)
    torch.set_num_threads(1)
    module, name = target.split(":")
    sys.exit(getattr(import_module(module), name)(*arguments))
