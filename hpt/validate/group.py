"""The processes of an arm: each with a device and data of its own, their gradients averaged by DistributedDataParallel.

An arm of one process is as if none of this were there.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from hpt.validate.plan import ValidationJob
from hpt.workloads.workload import Workload

PATIENCE = timedelta(minutes=10)
"""With a process that does not answer; one that ends is missed at once, by the parent."""


@contextmanager
def joined(place: Mapping[str, Any] | None) -> Generator[None]:
    """Inside, this process is one of several; None: it is alone.

    After an error nothing is taken down, which might wait for the others: the process ends anyway.
    """
    if place is None:
        yield
        return
    if place["backend"] == "nccl":
        torch.cuda.set_device(place["rank"])
    dist.init_process_group(
        place["backend"],
        init_method=f"file://{place['meeting']}",
        rank=place["rank"],
        world_size=place["processes"],
        timeout=PATIENCE,
    )
    yield
    dist.destroy_process_group()


def wrapped(model: torch.nn.Module, job: ValidationJob) -> torch.nn.Module:
    """What forward passes go through."""
    return model if job.processes == 1 else torch.nn.parallel.DistributedDataParallel(model)


def own_batch(workload: Workload, job: ValidationJob, index: int) -> Any:
    """This process's batch where each takes one: those of all are different."""
    return workload.batch(index if job.processes == 1 else index * job.processes + dist.get_rank())
