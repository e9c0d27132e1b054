"""The five memory layers of one trainer on one device.

    1 copies      parameters that got new memory are counted          every `check_interval` updates
    2 clean-up    idle memory goes back to the system                every `cleanup_interval` updates
    3 record      a reading of what is in use                        on demand
    4 thresholds  warn, degrade, save                                every `check_interval` updates
    5 recovery    memory that ran out is told apart, and freed       on an error

The manager measures and frees; what a warning or a degradation means for training is its caller's business.
Nothing here assumes a device number or that this process is the only one.
"""

import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from hpt.config import MemoryConfig
from hpt.memory.cleanup import Cleaner, CleanUp, free_idle
from hpt.memory.probe import MemoryReading, limit_bytes, read_memory, used_bytes
from hpt.numerics.shards import local

REARM_FRAC = 0.95
# c10/core/impl/alloc_cpu.cpp and the message of Windows; a plain RuntimeError on the host, unlike on CUDA
_HOST_WORDS = ("DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory")


class MemoryAlarm(StrEnum):
    """What a crossed threshold asks for."""

    WARN = "warn"
    DEGRADE = "degrade"
    SAVE = "save"


@dataclass(frozen=True, slots=True)
class Findings:
    """What one update brought to light.

    Attributes:
        num_moved: parameters that got new memory during the last `num_updates` updates.
        num_updates: updates looked back on, this one included; 0 if nothing was looked at.
        cleanup: the clean-up that was made, if any.
        alarms: thresholds to be answered, mildest first.
    """

    num_moved: int
    num_updates: int
    cleanup: CleanUp | None
    alarms: tuple[MemoryAlarm, ...]


NO_FINDINGS = Findings(num_moved=0, num_updates=0, cleanup=None, alarms=())


class MemoryManager:
    """Watches the memory of one device for one trainer.

    Args:
        config: intervals and thresholds.
        device: where the parameters are.
        parameters: trained ones, watched for copies.
    """

    def __init__(self, config: MemoryConfig, device: torch.device, parameters: Iterable[torch.Tensor]) -> None:
        self.device = device
        self.copies = CopyCounter(parameters)
        self.cleaner = Cleaner(config, device)
        self.thresholds = Thresholds(config, device)
        self._interval = config.check_interval
        self._num_updates = 0

    def after_update(self) -> Findings:
        """Layers 1, 2 and 4, after an update of the optimizer; most updates are the turn of none."""
        self._num_updates += 1
        is_looking = self._num_updates % self._interval == 0
        if not is_looking and not self.cleaner.is_due(self._num_updates):
            return NO_FINDINGS
        cleanup = self.cleaner.after_update(self._num_updates)
        if not is_looking:
            return Findings(0, 0, cleanup, ())
        return Findings(self.copies.check(), self._interval, cleanup, tuple(self.thresholds.check()))

    def read(self) -> MemoryReading:
        """Layer 3."""
        return read_memory(self.device)

    def recover(self, error: BaseException) -> bool:
        """Layer 5: True, with everything idle freed, if the error was that memory ran out."""
        if not is_out_of_memory(error):
            return False
        traceback.clear_frames(error.__traceback__)  # the failed call's tensors live on in them
        free_idle(self.device, collect=True)
        return True


class CopyCounter:
    """Layer 1: counts parameters that lie in other memory than at the last look.

    An update or a jump that builds new tensors instead of writing into the old ones costs a second copy while both
    exist, and breaks whatever else holds the tensor (compiled graphs, tied weights). Addresses would not do: an
    allocator gives the old place back at the second copy, and an even number of copies would look like none. A weak
    reference keeps no memory alive, but its storage's identity is not used again.

    Args:
        parameters: the ones to watch, by reference.
    """

    def __init__(self, parameters: Iterable[torch.Tensor]) -> None:
        self.num_copies = 0
        self._parameters: list[torch.Tensor] = []
        self._seen: list[StorageWeakRef] = []
        self.follow(parameters)

    def follow(self, parameters: Iterable[torch.Tensor]) -> None:
        """Watch these from now on; those watched before against what was seen of them then."""
        seen = dict(zip(map(id, self._parameters), self._seen, strict=True))
        self._parameters = list(parameters)
        self._seen = [seen.get(id(one)) or StorageWeakRef(local(one).untyped_storage()) for one in self._parameters]

    def check(self) -> int:
        """Parameters that moved since the last check, each counted once."""
        moved = 0
        for index, (one, seen) in enumerate(zip(self._parameters, self._seen, strict=True)):
            storage = local(one).untyped_storage()
            if storage._cdata != seen.cdata:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
                self._seen[index] = StorageWeakRef(storage)
                moved += 1
        self.num_copies += moved
        return moved


class Thresholds:
    """Layer 4: what is in use against three thresholds: warn, degrade, save before it is too late.

    A threshold is a share of the device's memory (up to 1) or a number of bytes (above 1). Each speaks when it is
    crossed and again only after the use has fallen below REARM_FRAC of it. Degrading is a ladder: every check that
    finds the use still above takes one more rung.

    Args:
        config: the thresholds.
        device: measured at every check.

    Attributes:
        used_bytes: at the last check; None before the first.
    """

    def __init__(self, config: MemoryConfig, device: torch.device) -> None:
        self._device = device
        asked = {
            MemoryAlarm.WARN: config.warn_at,
            MemoryAlarm.DEGRADE: config.degrade_at,
            MemoryAlarm.SAVE: config.checkpoint_at,
        }
        set_ones = {alarm: value for alarm, value in asked.items() if value is not None}
        total = limit_bytes(device) if any(value <= 1.0 for value in set_ones.values()) else 0
        self._limits = {alarm: int(value * total) if value <= 1.0 else int(value) for alarm, value in set_ones.items()}
        self._is_armed = dict.fromkeys(self._limits, True)
        self.used_bytes: int | None = None

    def limit_of(self, alarm: MemoryAlarm) -> int | None:
        """The threshold in bytes; None when it is off."""
        return self._limits.get(alarm)

    def check(self) -> list[MemoryAlarm]:
        """Measure; the alarms to be answered now, mildest first."""
        if not self._limits:
            return []
        used = self.used_bytes = used_bytes(self._device)
        alarms: list[MemoryAlarm] = []
        for alarm, limit in self._limits.items():
            if used < limit * REARM_FRAC:
                self._is_armed[alarm] = True
            elif used >= limit and (self._is_armed[alarm] or alarm is MemoryAlarm.DEGRADE):
                self._is_armed[alarm] = False
                alarms.append(alarm)
        return alarms


def is_out_of_memory(error: BaseException) -> bool:
    """Layer 5: the error says that memory ran out, on the device or on the host."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _HOST_WORDS)
