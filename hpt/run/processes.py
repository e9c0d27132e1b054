"""Jobs in processes of their own, some at a time: documents are handed on as they come, an end is never guessed.

A job is a function, named as `package.module:function`, that takes plain arguments and yields plain documents; the
last one is its result if there is one. Documents come through a pipe, and the parent alone writes files, so a kill
at any moment leaves finished jobs whole and unfinished ones absent.

Processes are forked from a server that has imported what is named in `preload` and computed nothing, so that torch
is imported once; a job with an environment of its own gets a fresh interpreter, since libraries read theirs at the
start. Nothing here imports torch: the parent stays small.
"""

import importlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from hpt.run.signals import sigterm_interrupts

POLL_S = 0.5  # how often a display may be redrawn while nothing ends
STOP_S = 5.0  # patience with a process that was told to stop
WORDS_LENGTH = 8000

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildJob:
    """Work for one process.

    Attributes:
        key: its name in progress and results, unique among the jobs of a call.
        target: `package.module:function`; called in the child as function(arguments), yields documents.
        arguments: plain values.
        environment: variables over the parent's, for a fresh interpreter; None: forked from the server.
    """

    key: str
    target: str
    arguments: Mapping[str, Any]
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """How a job ended.

    Attributes:
        job: which.
        documents: all that it sent, in order.
        exit_code: 0; of the error that its function raised, 7 when memory ran out; negative for a signal.
        error: why it has no result, one line; None if its function came to its end.
        words: the end of what it printed, stderr included.
        wall_s: from its start to its end.
        alone: no other job of the call ran at any moment of this one.
    """

    job: ChildJob
    documents: tuple[Document, ...]
    exit_code: int
    error: str | None
    words: str
    wall_s: float
    alone: bool


@dataclass(frozen=True, slots=True)
class JobsProgress:
    """How far a call is.

    Attributes:
        num_ended: with or without result.
        running: seconds since the start, by key.
        num_waiting: not started.
        last: what ended just now, if anything did.
    """

    num_ended: int
    running: dict[str, float]
    num_waiting: int
    last: JobEnd | None = None


def run_jobs(
    jobs: Sequence[ChildJob],
    *,
    at_once: int = 1,
    wait_for_another: bool = False,
    on_document: Callable[[ChildJob, Document], None] | None = None,
    on_end: Callable[[JobEnd], None] | None = None,
    on_progress: Callable[[JobsProgress], None] | None = None,
    preload: Sequence[str] = (),
) -> list[JobEnd]:
    """Run all jobs in their order and return how each ended, in the order of their ends.

    Args:
        jobs: what is to be done.
        at_once: processes at a time.
        wait_for_another: jobs that train together: where one fails, the others are ended, which would wait for it.
        on_document: told of each document as it comes.
        on_end: told of each end, first of all, so that a result is stored before it is counted.
        on_progress: told whenever a job ended, and twice a second at least.
        preload: modules that the server of forked jobs imports once.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; running jobs are stopped, and what ended was told.
        Exception: whatever a callback raises; running jobs are stopped.
    """
    with tempfile.TemporaryDirectory(prefix="hpt-jobs-") as folder:
        pool = _Pool(Path(folder), on_document, preload)
        waiting, ends = list(jobs), list[JobEnd]()
        with sigterm_interrupts(), pool.stopped_at_last():
            while waiting or pool.running:
                while waiting and len(pool.running) < at_once:
                    pool.start(waiting.pop(0))
                ended = pool.collect()
                if wait_for_another and any(end.error is not None for end in ended):
                    ended.sort(key=lambda end: end.exit_code >= 0)  # one that was killed, before one that missed it
                    waiting.clear()
                    pool.end()
                for end in ended:
                    ends.append(end)
                    if on_end is not None:
                        on_end(end)
                for end in ended or [None]:
                    if on_progress is not None:
                        on_progress(JobsProgress(len(ends), pool.since_s(), len(waiting), end))
        return ends


@dataclass
class _Started:
    """A process under way."""

    job: ChildJob
    process: Any
    pipe: Connection
    words_file: Path
    alone: bool
    documents: list[Document] = field(default_factory=list[Document])
    began_s: float = field(default_factory=time.monotonic)


class _Pool:
    """The processes that run now."""

    def __init__(
        self, folder: Path, on_document: Callable[[ChildJob, Document], None] | None, preload: Sequence[str]
    ) -> None:
        self.running: list[_Started] = []
        self._folder, self._on_document = folder, on_document
        self._num_started = 0
        self._server: Any = multiprocessing.get_context("forkserver")
        self._server.set_forkserver_preload(list(preload))
        self._fresh: Any = multiprocessing.get_context("spawn")

    def start(self, job: ChildJob) -> None:
        context = self._server if job.environment is None else self._fresh
        here, there = context.Pipe(duplex=False)
        self._num_started += 1
        words_file = self._folder / f"{self._num_started}.txt"
        process = context.Process(target=_enter, args=(there, job.target, dict(job.arguments), str(words_file)))
        for other in self.running:
            other.alone = False
        self.running.append(_Started(job, process, here, words_file, alone=not self.running))  # before a signal comes
        with _environment({"PYTHONSAFEPATH": "1", **(job.environment or {})}):  # no file here stands in for a module
            process.start()
        there.close()

    def since_s(self) -> dict[str, float]:
        """Seconds that each has run, by key."""
        now = time.monotonic()
        return {one.job.key: now - one.began_s for one in self.running}

    def collect(self) -> list[JobEnd]:
        """Take in what was sent within POLL_S; those that ended are taken off."""
        ready = set(wait([one.pipe for one in self.running], timeout=POLL_S))
        ends = [self._receive(one) for one in self.running if one.pipe in ready]
        return [end for end in ends if end is not None]

    def _receive(self, one: _Started) -> JobEnd | None:
        """One message; None if it was no last one."""
        try:
            kind, *content = one.pipe.recv()
        except (EOFError, ConnectionResetError):
            return self._ended(one, 0, None)
        if kind == "end":
            return self._ended(one, *content)
        one.documents.append(content[0])
        if self._on_document is not None:
            self._on_document(one.job, content[0])
        return None

    def _ended(self, one: _Started, said_code: int, message: str | None) -> JobEnd:
        """See a process off; `message` is its last, "" after success, None if it sent none."""
        self.running = [other for other in self.running if other is not one]
        one.pipe.close()
        one.process.join()
        status: int = one.process.exitcode
        error = message or None
        if message is None or (status != 0 and error is None):
            how = f"was ended by signal {-status} (status {status})" if status < 0 else f"ended with status {status}"
            error = f"its process {how}; memory may have run out"
        words = one.words_file.read_text(encoding="utf-8", errors="replace") if one.words_file.exists() else ""
        return JobEnd(
            job=one.job,
            documents=tuple(one.documents),
            exit_code=said_code or status or int(error is not None),
            error=error,
            words=words[-WORDS_LENGTH:],
            wall_s=time.monotonic() - one.began_s,
            alone=one.alone,
        )

    def end(self) -> None:
        """Kill all; how each ended is collected as ever."""
        for one in self.running:
            one.process.kill()

    @contextmanager
    def stopped_at_last(self) -> Generator[None]:
        """However it is left, nothing goes on running."""
        try:
            yield
        finally:
            started = [one.process for one in self.running if one.process.pid is not None]
            try:
                for process in started:
                    process.terminate()
                for process in started:
                    process.join(STOP_S)
            finally:  # also when a second Ctrl-C ends the patience
                for process in started:
                    process.kill()
                    process.join()
                for one in self.running:
                    one.pipe.close()
                self.running = []


@contextmanager
def _environment(changes: Mapping[str, str]) -> Generator[None]:
    """Variables for a process that is started inside; this one's are as before afterwards."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _enter(pipe: Connection, target: str, arguments: Document, words_file: str) -> None:
    """First function of a job's process; what serves it is imported there, never in the parent."""
    importlib.import_module("hpt.run.child").serve(pipe, target, arguments, words_file)
