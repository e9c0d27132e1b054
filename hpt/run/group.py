"""The processes that torchrun started for one run: how they meet, decide once, and end together.

They talk by gloo; where they train on GPUs, gradients and what jumps need go by NCCL. A process that fails leaves word
in the store by which they met, before its connections break. The others find it there, so that all end with the same
exit code and the first one tells why. Of a process that was killed there is no word.
"""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from hpt.distributed.together import Together
from hpt.errors import CheckpointError, UsageError
from hpt.plugins import FAILURES
from hpt.run.alone import Alone
from hpt.run.launch import Launch, ProcessFailed
from hpt.run.signals import StopRequest
from hpt.run.stopping import StopAgreement

T = TypeVar("T")
MET = "hpt/met"
"""Key in the store, a process each: it is connected with all others."""
WORD = "hpt/word"


@dataclass(frozen=True, slots=True)
class _Word:
    """What a process says before it ends."""

    rank: int
    message: str
    exit_code: int


class Group(Alone):
    """Several processes that make one run together.

    Args:
        launch: how this one was started.
        store: by which they met.

    Attributes:
        together: what they agree on.
        speaks: this process tells why the run ends.
    """

    def __init__(self, launch: Launch, store: "dist.Store") -> None:  # pyright: ignore[reportPrivateImportUsage]
        super().__init__(launch)
        self.together = Together()
        self.speaks = self.is_first
        self._store = store

    def once(self, do: Callable[[], T]) -> T:
        """Do it in the first process alone; all return what it returned, or raise what it raised."""
        return self.together.once(do)

    @contextmanager
    def explained(self, remedy: str) -> Generator[None]:
        """A connection that another process left, inside, becomes an error that says why, or else the remedy.

        Raises:
            ProcessFailed: that error.
        """
        try:
            yield
        except FAILURES as error:
            if not _is_lost(error):
                raise
            raise self._why(remedy) from error

    def prepare(self, device: torch.device) -> None:
        """Get ready to train on this process's device: on GPUs it goes by NCCL.

        Raises:
            UsageError: processes found different kinds of devices.
        """
        if not self.together.are_alike(device.type):
            raise UsageError(f"a process computes on {device.type}, another elsewhere; name one kind by --device")
        if device.type == "cuda":
            torch.cuda.set_device(device)
            self.process_group = cast("dist.ProcessGroup", dist.new_group(backend="nccl"))

    def shared(self, model: torch.nn.Module) -> torch.nn.Module:
        """The model, its gradients averaged over processes; forward passes of the bare one send nothing."""
        if not any(one.requires_grad for one in model.parameters()):
            return model  # refused by the trainer, with the remedy
        return torch.nn.parallel.DistributedDataParallel(model, process_group=self.process_group)

    def check_alike(self, facts: object) -> None:
        """Refuse a run of processes that know different things of it; none goes on before all are here.

        Raises:
            CheckpointError: they do.
        """
        if not self.together.are_alike(facts):
            raise CheckpointError(
                "processes found different data or checkpoints; put the run's folder and its data where all of them "
                "see the same files"
            )

    def stopping(self, stop: StopRequest, max_calls: int) -> StopAgreement:
        """Tells before every call whether to stop, in all processes before the same."""
        return StopAgreement(stop, self.together.mean, max_calls)

    def _why(self, remedy: str) -> ProcessFailed:
        message = f"another process of this run ended without a word, as one that is killed does; {remedy}"
        word = self._first_word(_Word(self.launch.rank, message, ProcessFailed.exit_code))
        self.speaks = self.speaks or word.rank == self.launch.rank  # the first process may be the one that is gone
        return ProcessFailed(word.message, word.exit_code)

    def leave_word(self, message: str, exit_code: int) -> None:
        """Say why this process ends, before its connections break."""
        self._first_word(_Word(self.launch.rank, message, exit_code))

    def _first_word(self, word: "_Word") -> "_Word":
        """The word of the process that was the first to leave one, this one if there was none."""
        try:
            return _Word(*json.loads(self._store.compare_set(WORD, "", json.dumps(astuple(word)))))
        except RuntimeError:  # the store is gone with the process that kept it
            return word

    def wait(self) -> None:
        """Until all processes are here."""
        self.together.any([False])


@contextmanager
def joined(launch: Launch) -> Generator[Group]:
    """The group of the processes that were started together, taken apart at the end.

    Raises:
        UsageError: they cannot meet.
    """
    try:
        store, rank, world = next(iter(rendezvous("env://", launch.rank, launch.num_processes)))
        inner = dist.PrefixStore("hpt/group", store)  # pyright: ignore[reportPrivateImportUsage]
        dist.init_process_group("gloo", store=inner, rank=rank, world_size=world)
        store.set(f"{MET}/{rank}", "")  # a process that leaves at once would break the connections that others make
        store.wait([f"{MET}/{one}" for one in range(world)])
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"the environment tells of {launch.num_processes} processes, and they cannot meet ({reason}); "
            "start them by torchrun, or unset RANK and WORLD_SIZE"
        ) from error
    try:
        yield Group(launch, store)
    finally:
        dist.destroy_process_group()


def _is_lost(error: BaseException) -> bool:
    """It is about the connection to other processes; gloo's errors have no type of their own."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())
