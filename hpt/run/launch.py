"""How this process was started: alone, or by torchrun as one of several that train one model.

torchrun tells each process its place in the environment: RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE. Nothing here
imports torch.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from hpt.errors import HptError, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """The place of this process among those of a run.

    Attributes:
        rank: from 0; the first process keeps the folder and speaks for all.
        num_processes: of the run.
        local_rank: its place on its machine, and so the number of its GPU.
        num_nodes: machines.
    """

    rank: int = 0
    num_processes: int = 1
    local_rank: int = 0
    num_nodes: int = 1

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> Self:
        """As torchrun says; a process alone where it says nothing.

        Raises:
            UsageError: a variable is no number, or the rank is not below the number of processes.
        """
        if "RANK" not in environment or "WORLD_SIZE" not in environment:
            return cls()
        rank, world = _number(environment, "RANK"), _number(environment, "WORLD_SIZE")
        if world <= 1:
            return cls()
        if rank >= world:
            raise UsageError(f"RANK is {rank}, it must be below WORLD_SIZE {world}; start the processes by torchrun")
        local_world = _number(environment, "LOCAL_WORLD_SIZE", world)
        return cls(
            rank=rank,
            num_processes=world,
            local_rank=_number(environment, "LOCAL_RANK", rank),
            num_nodes=max(1, world // max(1, local_world)),
        )

    @property
    def are_several(self) -> bool:
        """There is more than one process."""
        return self.num_processes > 1

    @property
    def facts(self) -> dict[str, int]:
        """What a run's record says of it."""
        return {"num_processes": self.num_processes, "num_nodes": self.num_nodes}


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise UsageError(f"{name} is {text!r} in the environment, it must be a number; start the processes by torchrun")
    return int(text)


def hpt_words(facts: Mapping[str, Any]) -> list[str]:
    """The words that start `hpt` as a run was started: `hpt`, or torchrun with as many processes.

    Args:
        facts: `Launch.facts`, or the environment in a run's record; older ones say nothing of processes.
    """
    processes, nodes = int(facts.get("num_processes", 1)), int(facts.get("num_nodes", 1))
    if processes == 1:
        return ["hpt"]
    machines = ["--nnodes", str(nodes)] if nodes > 1 else []
    return ["torchrun", *machines, "--nproc-per-node", str(processes // nodes), "-m", "hpt"]


def resume_line(facts: Mapping[str, Any], folder: Path) -> str:
    """The command line that continues the run in a folder, as it was started."""
    return shlex.join([*hpt_words(facts), "train", "--resume", str(folder)])


class ProcessFailed(HptError):
    """Another process of the run has ended.

    Args:
        message: of what, as far as it is known.
        exit_code: that process's.
    """

    def __init__(self, message: str, exit_code: int = HptError.exit_code) -> None:
        super().__init__(message)
        self.exit_code = exit_code
