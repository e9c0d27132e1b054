"""Processes that train one model in pieces, by fully_shard on a mesh of one axis or of two, and their one twin."""

from typing import Any, cast

import torch
import torch.distributed as dist
from references.forking import Forking
from references.ranks import Rank

STEPS = 96


def shard(model: torch.nn.Module, replicas: int = 1) -> torch.nn.Module:
    """Each linear layer by itself, then what is left; with replicas over a mesh of (replicas, shards)."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    world = dist.get_world_size()
    shape = (world,) if replicas == 1 else (replicas, world // replicas)
    mesh = init_device_mesh("cpu", shape, mesh_dim_names=("replica", "shard")[-len(shape) :])
    for one in model.modules():
        if isinstance(one, torch.nn.Linear) and one is not model:
            fully_shard(one, mesh=mesh)
    return cast("torch.nn.Module", fully_shard(model, mesh=mesh))


def replicated(model: torch.nn.Module) -> torch.nn.Module:
    """Two replicas, each in as many pieces as there are processes for it."""
    return shard(model, replicas=2)


def shard_as_one(model: torch.nn.Module) -> torch.nn.Module:
    """All layers together: what a forward pass gathers stays until a backward one."""
    from torch.distributed.fsdp import fully_shard

    return cast("torch.nn.Module", fully_shard(model))


def uneven() -> torch.nn.Module:
    """Seven rows for two processes, one row for two, and two layers of one shape."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(20, 7), torch.nn.Tanh(), torch.nn.Linear(7, 7), torch.nn.Linear(7, 1, bias=False)]
    return torch.nn.Sequential(*layers, torch.nn.Linear(1, 10))


def trained(rank: int, world: int, *args: Any, wrap: Any = shard, **settings: Any) -> Any:
    """What a whole run comes to."""
    return Rank(rank, world, *args, wrap=wrap, total_steps=STEPS, **settings).train(STEPS).found()


RUNS: dict[str, dict[str, Any]] = {
    "nesterov": {"predictor": "nesterov", "predict": {"policy": "full-kept"}, "update": {"clip_norm": 0.3}},
    "ramp": {"predictor": "nesterov", "predict": {"preset": "ramp"}},
    "rssm": {"predictor": "rssm"},
    "uneven": {"predictor": "nesterov", "model": uneven, "update": {"clip_norm": 0.3}},
    "fork": {"predictor": lambda: Forking((48,), ("half", "full-kept"), 1, 14, plays="half")},
    "accumulation": {"predictor": "nesterov", "update": {"accumulation_steps": 2}},
}
"""Settings of each run that equals its twin; what is callable is called for each."""


def run(name: str, rank: int, world: int, wrap: Any = shard) -> Any:
    """One of `RUNS`."""
    settings = {key: one() if callable(one) else one for key, one in RUNS[name].items()}
    return trained(rank, world, wrap=wrap, **settings)
