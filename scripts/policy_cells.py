"""Runs of one policy each, from the first update to the last: what a policy is worth when it is played all the time.

A cell is a workload at a length, an inner optimizer at a rate, a seed and a policy. Everything else is what
`hpt train` would use.
"""

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from policy_forks import ForkStudy

from hpt import HybridConfig, HybridTrainer
from hpt.compare.cells import Recipe
from hpt.compare.recipes import make_optimizers
from hpt.errors import TrainingDiverged
from hpt.jump.policy import NONE
from hpt.memory.peak import peak_device_bytes
from hpt.optimizers.inner import InnerOptimizer
from hpt.trainer.engine import with_cycle
from hpt.workloads.inner import inner_schedulers
from hpt.workloads.registry import load_workload
from hpt.workloads.workload import Workload

DIVERGED_FACTOR = 10.0
BY_VALUE = "default"
"""No policy: the default trainer, which chooses by value."""
PREDICTORS = {NONE: "none", BY_VALUE: "rssm"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCell:
    """One run.

    Attributes:
        workload, optimizer: by name.
        steps: net updates.
        lr_factor: on the optimizer's rate.
        memory: decay of its longest average; None: as it comes.
        seed: of weights and batches.
        policy: played all the time; `NONE`: no jump; `BY_VALUE`: the trainer chooses.
        forks: fork over every policy on the way.
        device: "cpu" or "cuda".
        autocast: "none" or "bf16".
        window_end_frac: of the run, from which on there are no jumps; None: as by default.
    """

    workload: str
    optimizer: str
    steps: int
    lr_factor: float
    seed: int
    policy: str
    forks: bool = False
    device: str = "cpu"
    autocast: str = "none"
    memory: float | None = None
    window_end_frac: float | None = None

    @property
    def key(self) -> str:
        """File name without its ending."""
        name = self.workload.rpartition(":")[2]
        kind = "-forks" if self.forks else ""
        if self.window_end_frac is not None:
            kind += f"-until{self.window_end_frac:g}"
        return f"{name}-{self.optimizer}-x{self.lr_factor:.3g}-n{self.steps}-s{self.seed}-{self.policy}{kind}"


class PolicyRun:
    """A cell's workload and trainer."""

    def __init__(self, cell: PolicyCell) -> None:
        torch.manual_seed(cell.seed)  # pyright: ignore[reportUnknownMemberType]
        self.cell = cell
        self.workload: Workload = load_workload(
            cell.workload, seed=cell.seed, data=None, device=torch.device(cell.device)
        )
        self.model = self.workload.build_model()
        recipe = Recipe(lr_factor=cell.lr_factor, memory=cell.memory, optimizer=cell.optimizer)
        optimizers = make_optimizers(recipe, self.workload, self.model, cell.steps)
        schedulers = inner_schedulers(self.workload, optimizers, cell.optimizer, cell.steps)
        config = HybridConfig.from_dict(
            {
                "predictor": PREDICTORS.get(cell.policy, "nesterov") if not cell.forks else "nesterov",
                "predict": {
                    "policy": None if cell.policy in PREDICTORS else cell.policy,
                    "window_end_frac": cell.window_end_frac,
                },
                "total_steps": cell.steps,
                "seed": cell.seed,
                "update": {"clip_norm": self.workload.clip_norm},
                "precision": {"autocast": cell.autocast},
                "trajectory": {"device": "device"},
            }
        )
        self.study = ForkStudy(with_cycle(config, InnerOptimizer(optimizers)), cell.policy) if cell.forks else None
        self.trainer = HybridTrainer(
            self.model, optimizers, self.workload.loss, config, schedulers, predictor=self.study
        )

    def train(self) -> dict[str, Any]:
        """To the end; the cell, its validation loss (None if it diverged), the trainer's counters and seconds."""
        began_s, trainer = time.perf_counter(), self.trainer
        message = None
        try:
            while trainer.num_updates < self.cell.steps:
                trainer.step(self.workload.batch(trainer.num_calls))
        except TrainingDiverged as error:
            message = str(error)
        trainer.finish()
        wall_s, summary = time.perf_counter() - began_s, trainer.summary()
        loss = self.workload.validation_loss(self.model)
        ended = message is None and loss <= DIVERGED_FACTOR * self.workload.chance_loss
        return {
            "cell": asdict(self.cell),
            "final_loss": loss if ended else None,
            "message": message,
            "counters": summary["counters"],
            "seconds": summary["seconds"],
            "predictor": summary["predictor"],
            "cycle_steps": trainer.config.cycle_steps,
            "chance_loss": self.workload.chance_loss,
            "wall_s": wall_s,
            "peak_bytes": peak_device_bytes(torch.device(self.cell.device)),
        }
