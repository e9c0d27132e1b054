"""Layer 4: what is in use against three thresholds: warn, degrade, save before it is too late.

A threshold is a share of the device's memory (up to 1) or a number of bytes (above 1). Each speaks when it is
crossed and again only after the use has fallen below REARM of it. Degrading is a ladder: every check that
finds the use still above takes one more rung.
"""

from enum import StrEnum

import torch

from hpt.config import MemoryConfig
from hpt.memory.probe import limit_bytes, used_bytes

REARM = 0.95


class Alarm(StrEnum):
    """What a crossed threshold asks for."""

    WARN = "warn"
    DEGRADE = "degrade"
    SAVE = "save"


class Thresholds:
    """Compares the use of one device with its thresholds.

    Args:
        config: the thresholds.
        device: measured at every check.

    Attributes:
        used_bytes: at the last check; None before the first.
    """

    def __init__(self, config: MemoryConfig, device: torch.device) -> None:
        self._device = device
        asked = {Alarm.WARN: config.warn_at, Alarm.DEGRADE: config.degrade_at, Alarm.SAVE: config.checkpoint_at}
        set_ones = {alarm: value for alarm, value in asked.items() if value is not None}
        total = limit_bytes(device) if any(value <= 1.0 for value in set_ones.values()) else 0
        self._limits = {alarm: int(value * total) if value <= 1.0 else int(value) for alarm, value in set_ones.items()}
        self._is_armed = dict.fromkeys(self._limits, True)
        self.used_bytes: int | None = None

    def limit_of(self, alarm: Alarm) -> int | None:
        """The threshold in bytes; None when it is off."""
        return self._limits.get(alarm)

    def check(self) -> list[Alarm]:
        """Measure; the alarms to be answered now, mildest first."""
        if not self._limits:
            return []
        used = self.used_bytes = used_bytes(self._device)
        alarms: list[Alarm] = []
        for alarm, limit in self._limits.items():
            if used < limit * REARM:
                self._is_armed[alarm] = True
            elif used >= limit and (self._is_armed[alarm] or alarm is Alarm.DEGRADE):
                self._is_armed[alarm] = False
                alarms.append(alarm)
        return alarms
