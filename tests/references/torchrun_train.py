"""`hpt train` in two processes that know of each other by the environment, as torchrun starts them; and its one twin.

The store by which they meet is kept by this process, as torchrun keeps it, so that a process that is killed leaves it.
"""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from references.faulty_run import QUIET, STEPS, FaultyRegression
from references.fresh_process import Ended, FreshProcess

from hpt import HybridTrainer
from hpt.config import HybridConfig
from hpt.trainer.checkpoint_file import CheckpointFolder, read_checkpoint
from hpt.workloads.regression import Pair

NUM = 2
RUN = ("--workload", "references.torchrun_train:make", "--steps", str(STEPS), "--config", "settings.toml", *QUIET)


class ShuffledRegression(FaultyRegression):
    """Regression on a random quarter of the samples, another one for each index."""

    name = "shuffled"

    def build_model(self) -> torch.nn.Module:
        """Inputs are dropped if PLANTED_MODEL says so."""
        model = super().build_model()
        return (
            torch.nn.Sequential(torch.nn.Dropout(0.1), model) if os.environ.get("PLANTED_MODEL") == "dropout" else model
        )

    def build_optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Without the strong momentum, which noise in the gradients would feed."""
        return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)

    def batch(self, index: int) -> Pair:
        """A quarter, a function of the index, after the fault if this is its place."""
        inputs, targets = super().batch(index)
        chosen = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(index))[: len(inputs) // 4]
        return inputs[chosen], targets[chosen]


def make(*, seed: int, data: Path | None, device: torch.device) -> ShuffledRegression:
    """Factory for `--workload references.torchrun_train:make`."""
    return ShuffledRegression(seed=seed, device=device)


class Ranks:
    """The processes of a run, at work.

    Args:
        words: after `hpt train`.
        planted: faults, by the names of `references.faulty_run` without PLANTED_.
    """

    def __init__(self, *words: str, **planted: str) -> None:
        store: Any = dist.TCPStore  # pyright: ignore[reportPrivateImportUsage]
        self._store = store("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=60))
        faults = {f"PLANTED_{name.upper()}": value for name, value in planted.items()}
        self.processes = [
            FreshProcess("hpt.cli.main:run", [["train", *words]], _told(rank, self._store.port) | faults)
            for rank in range(NUM)
        ]

    def end(self) -> list[Ended]:
        """How each ended, by rank."""
        return [one.end() for one in self.processes]


def _told(rank: int, port: int) -> dict[str, str]:
    """What torchrun tells a process."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": NUM, "LOCAL_WORLD_SIZE": NUM, "MASTER_PORT": port}
    texts = {name: str(value) for name, value in place.items()}
    return {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_USE_AGENT_STORE": "True", **texts}


def in_two(*words: str, **planted: str) -> list[Ended]:
    """How the processes of a run end, by rank."""
    return Ranks(*words, **planted).end()


def checkpoint(out: str) -> dict[str, Any]:
    """The newest in a run's folder."""
    path = CheckpointFolder(Path(out, "checkpoints"), keep=1).latest()
    assert path is not None
    return read_checkpoint(path)


def on_joint_batches(config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Weights of the same run in this process, which sees the batches of both in each step."""
    workload = make(seed=0, data=None, device=torch.device("cpu"))
    model = workload.build_model()
    optimizer = workload.build_optimizer(model)
    settings = HybridConfig.from_dict({**config, "checkpoint": {}})
    schedule = workload.build_scheduler(optimizer, STEPS)
    trainer = HybridTrainer(model, optimizer, workload.loss, settings, schedule)
    while trainer.num_updates < STEPS:
        pairs = [workload.batch(NUM * trainer.num_calls + rank) for rank in range(NUM)]
        trainer.step(tuple(torch.cat(parts) for parts in zip(*pairs, strict=True)))
    return dict(model.state_dict())
