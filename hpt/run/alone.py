"""What the only process of a run does where several would agree with one another; torch is not imported."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from hpt.run.launch import Launch
from hpt.run.signals import StopRequest

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup

    from hpt.run.stopping import StopAgreement

T = TypeVar("T")


class Alone:
    """A run's only process; `hpt.run.group.Group` is the same for several.

    Args:
        launch: how it was started.

    Attributes:
        process_group: by which they train; None: torch's default, where there is one.
    """

    def __init__(self, launch: Launch | None = None) -> None:
        self.launch = launch or Launch()
        self.process_group: ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """This process keeps the run's folder and speaks for all."""
        return self.launch.rank == 0

    def once(self, do: Callable[[], T]) -> T:
        """Do it in the first process alone; all return what it returned, or raise what it raised."""
        return do()

    @contextmanager
    def explained(self, remedy: str) -> Generator[None]:
        """A connection that another process left, inside, becomes an error that says why, or else the remedy."""
        del remedy
        yield

    def prepare(self, device: "torch.device") -> None:
        """Get ready to train on this process's device."""

    def shared(self, model: "torch.nn.Module") -> "torch.nn.Module":
        """The model, its gradients averaged over processes; forward passes of the bare one send nothing."""
        return model

    def check_alike(self, facts: object) -> None:
        """Refuse a run of processes that know different things of it."""

    def stopping(self, stop: StopRequest, max_calls: int) -> "StopRequest | StopAgreement":
        """Tells before every call whether to stop, in all processes before the same."""
        del max_calls
        return stop
