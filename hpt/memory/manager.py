"""The five memory layers of one trainer on one device.

    1 copies      parameters that moved are counted                  after every update
    2 clean-up    idle memory goes back to the system                every `cleanup_interval` updates
    3 record      a reading at every change of phase                 on demand
    4 thresholds  warn, degrade, save                                every `check_interval` updates
    5 recovery    memory that ran out is told apart, and freed       on an error

The manager measures and frees; what a warning or a degradation means for training is its caller's business.
Nothing here assumes a device number or that this process is the only one.
"""

import traceback
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from hpt.config import MemoryConfig
from hpt.memory.cleanup import Cleaner, CleanUp, free_idle
from hpt.memory.copies import CopyCounter
from hpt.memory.exhaustion import is_out_of_memory
from hpt.memory.probe import MemoryReading, read_memory
from hpt.memory.thresholds import Alarm, Thresholds


@dataclass(frozen=True, slots=True)
class Findings:
    """What one update brought to light.

    Attributes:
        num_moved: parameters whose storage changed.
        cleanup: the clean-up that was made, if any.
        alarms: thresholds to be answered, mildest first.
    """

    num_moved: int
    cleanup: CleanUp | None
    alarms: tuple[Alarm, ...]


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
        """Layers 1, 2 and 4, after an update of the optimizer."""
        self._num_updates += 1
        cleanup = self.cleaner.after_update(self._num_updates)
        alarms = () if self._num_updates % self._interval else tuple(self.thresholds.check())
        return Findings(self.copies.check(), cleanup, alarms)

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
