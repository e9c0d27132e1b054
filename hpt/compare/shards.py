"""Shards of a comparison: which cells are whose when several processes, on one machine or on many, fill one folder.

A cell belongs to one shard by a hash of its name, whatever else is there or missing, so that shards agree without
speaking to each other, and may start, die and start again in any order. So does the recipe of an arm on a workload,
with all its tuning trials.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Self

from hpt.errors import UsageError

_WRITTEN = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Shard:
    """One share of several.

    Attributes:
        index: which, from 1.
        count: how many there are.

    Raises:
        UsageError: it is not among them.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        """Refuse a share that does not exist."""
        if not 1 <= self.index <= self.count:
            raise UsageError(_refusal(f"{self.index}/{self.count}"))

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "3/8".

        Raises:
            UsageError: it is none.
        """
        found = _WRITTEN.fullmatch(text)
        if found is None:
            raise UsageError(_refusal(text))
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def has(self, name: str) -> bool:
        """What has this name belongs to it; of the shards of a count exactly one has it."""
        digest = hashlib.sha256(name.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1


def _refusal(text: str) -> str:
    return f"--shard is {text!r}, it must be I/N with I from 1 to N; of eight shards the first is 1/8, the last 8/8"
