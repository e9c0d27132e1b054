"""What happens to a model in pieces: trouble in one process, evaluations, stored states, and what is sent for it.

All scenarios of a group of processes run in one start of it, which takes most of the time.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from references.ranks import SETTINGS, Rank, cross_entropy, whole
from references.sharded_ranks import RUNS, STEPS, replicated, run, shard, shard_as_one, uneven
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.utils._python_dispatch import TorchDispatchMode

from hpt import HptError, HybridConfig, Phase, attach
from hpt.numerics.shards import local
from hpt.records import EventRecord, JumpRecord


def evaluated(rank: int, world: int, folder: Path) -> Any:
    """The caller looks at the loss without a gradient before every seventh call, which leaves gathered weights."""
    mine = Rank(rank, world, wrap=shard_as_one, total_steps=STEPS, predict={"preset": "ramp"})
    while mine.trainer.num_updates < STEPS:
        if mine.trainer.num_calls % 7 == 0 or mine.trainer.phase is Phase.PREDICT:
            with torch.no_grad():
                mine.model(mine.batch(0)[0])
        mine.train(mine.trainer.num_updates + 1)
    return mine.found()


def undone(rank: int, world: int, folder: Path) -> Any:
    """Where a cycle ended; five updates later; where the rollback leads."""
    mine = Rank(rank, world, wrap=shard, total_steps=STEPS, model=uneven()).train(60)
    snapshot = mine.trainer.outer.snapshot
    assert snapshot is not None
    before = everything(mine)
    mine.train(65)
    later = everything(mine)
    snapshot.restore()
    return {"before": before, "later": later, "after": everything(mine)}


def everything(mine: Rank) -> dict[str, torch.Tensor]:
    """Pieces of weights and moments as they lie here."""
    (optimizer,) = mine.trainer._c.optimizer.each
    names: dict[torch.Tensor, str] = {one: name for name, one in mine.bare.named_parameters()}
    kept = {f"{names[one]} {key}": value for one, state in optimizer.state.items() for key, value in state.items()}
    return {name: local(one.detach()).clone() for name, one in {**dict(mine.bare.named_parameters()), **kept}.items()}


def sizes(rank: int, world: int, folder: Path) -> Any:
    """Numbers in each piece, and bytes of the copies."""
    mine = Rank(rank, world, wrap=shard, total_steps=STEPS, model=uneven()).train(24)
    outer = mine.trainer.outer
    assert outer.snapshot is not None
    weights = {name: local(one.detach()).numel() for name, one in mine.bare.named_parameters()}
    return {"numel": weights, "trajectory": outer.trajectory.nbytes, "snapshot": outer.snapshot.nbytes}


def not_finite(rank: int, world: int, folder: Path) -> Any:
    """In the second process alone one batch's loss is NaN at update 40."""
    mine = Rank(rank, world, wrap=shard, total_steps=STEPS)
    seen = [0]

    def loss_fn(model: torch.nn.Module, batch: Any) -> torch.Tensor:
        seen[0] += model.training
        loss = cross_entropy(model, batch)
        return loss * torch.nan if seen[0] == 40 and rank == 1 and model.training else loss

    mine.trainer._c.full.loss_fn = loss_fn
    return mine.train(STEPS).found()


def probe_fails(rank: int, world: int, folder: Path) -> Any:
    """In the second process alone every probe raises, once the model has run."""
    mine = Rank(rank, world, wrap=shard, total_steps=STEPS)

    def loss_fn(model: torch.nn.Module, batch: Any) -> torch.Tensor:
        loss = cross_entropy(model, batch)
        if rank == 1 and mine.trainer.phase is Phase.PREDICT:
            raise ValueError("only here")
        return loss

    mine.trainer._c.full.loss_fn = loss_fn
    return mine.train(STEPS).found()


def fails_in_eval_mode(rank: int, world: int, folder: Path) -> Any:
    """In the second process alone; all take the next way."""
    mine = Rank(rank, world, wrap=shard, total_steps=STEPS)

    def loss_fn(model: torch.nn.Module, batch: Any) -> torch.Tensor:
        loss = cross_entropy(model, batch)
        if rank == 1 and not model.training:
            raise ValueError("only here")
        return loss

    mine.trainer._c.full.loss_fn = loss_fn
    return mine.train(STEPS).found()


class Sent(TorchDispatchMode):
    """Counts what is sent, by the name of the operation; those of fully_shard itself have names of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(hasattr(one, "_op_dispatcher") for one in types):
            return NotImplemented  # a DTensor sends what it needs by operations on plain tensors, which come here again
        if (
            func.namespace in ("c10d", "_c10d_functional")
            and "wait" not in func.__name__
            and "_wrap" not in func.__name__
        ):
            name = func._opname.strip("_")
            self.counts["sum" if name in ("allreduce", "all_reduce") else name] += 1
        return func(*args, **(kwargs or {}))


def sent(rank: int, world: int, folder: Path) -> Any:
    """In each call as far as it is asked for, and in each update of the plain loop.

    37 is an ordinary update, 48 the end of a cycle, 60 a jump, after which three come until its verdict.
    """
    found: dict[str, Any] = {}
    settings: dict[str, Any] = {"wrap": shard, "total_steps": STEPS}
    runs: dict[str, tuple[int, dict[str, Any]]] = {
        "plain": (49, {"predictor": "none"}),
        "jumps": (64, {}),
        "kept": (64, {"predict": {"policy": "full-kept"}}),
        "clipped": (54, {"update": {"clip_norm": 0.3}}),
        "plain clipped": (49, {"predictor": "none", "update": {"clip_norm": 0.3}}),
        "parts": (8, {"predictor": "none", "update": {"accumulation_steps": 2}}),
    }
    for name, (num_updates, more) in runs.items():
        mine = Rank(rank, world, **{**settings, **more})
        calls: list[Any] = []
        while mine.trainer.num_updates < num_updates:
            phase = mine.trainer.phase
            with Sent() as mode:
                mine.trainer.step(mine.batch(mine.trainer.num_calls))
            calls.append((phase.value, mine.trainer.num_updates, dict(mode.counts)))
        found[name] = calls
    return found


def refused(rank: int, world: int, folder: Path) -> Any:
    """What is said of settings and meshes that cannot be had."""
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import Shard, distribute_tensor

    def alone() -> Rank:
        model = torch.nn.Linear(20, 10)
        mesh = DeviceMesh("cpu", [rank])
        model.weight = torch.nn.Parameter(distribute_tensor(model.weight.detach(), mesh, [Shard(0)]))
        return Rank(rank, world, model=model, wrap=lambda one: one)

    whole = Rank(rank, world, wrap=shard)
    attempts: dict[str, Callable[[], object]] = {
        "mesh": alone,
        "offload": lambda: Rank(rank, world, wrap=shard, memory={"offload_optimizer": True}),
        "observe": lambda: Rank(rank, world, wrap=shard, update={"observe": "step"}),
        "folder": lambda: Rank(rank, world, wrap=shard, checkpoint={"dir": str(folder)}),
        "save": lambda: whole.trainer.save(folder / "run"),
    }
    return {name: _said(attempt) for name, attempt in attempts.items()}


def _said(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except HptError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def attached(rank: int, world: int, folder: Path, loads_at: int | None = None) -> Any:
    """A loop of the user's own, with a probe; it may load its own state on the way."""
    torch.manual_seed(0)
    model = uneven().double()
    model = shard_as_one(model) if world > 1 else model
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    helper = Rank(rank, world, model=torch.nn.Linear(20, 10), wrap=lambda one: one)
    records: list[Any] = []
    settings: dict[str, Any] = {**SETTINGS, "total_steps": STEPS, "predictor": "nesterov"}

    def probe() -> float:
        return float(cross_entropy(model, helper.batch(0)))

    jumps = attach(optimizer, HybridConfig.from_dict(settings), model=model, probe=probe, sink=records.append)
    for index in range(STEPS):
        if index == loads_at:
            jumps.load_state_dict(jumps.state_dict())
        loss = cross_entropy(model, helper.batch(index))
        loss.backward()
        jumps.observe(loss)
        optimizer.step()
        optimizer.zero_grad()
    return {
        "weights": {name: whole(one.detach()).clone() for name, one in model.named_parameters()},
        "jumps": [(one.step, one.verdict, round(one.gain, 9)) for one in records if isinstance(one, JumpRecord)],
        "events": [(one.step, one.name) for one in records if isinstance(one, EventRecord)],
    }


def attached_and_loaded(rank: int, world: int, folder: Path) -> Any:
    """The same; at update 30 its state is stored and loaded, without the path, which begins anew."""
    return attached(rank, world, folder, loads_at=30)


@contextmanager
def _without_a_warning() -> Generator[None]:
    """That one process is alone."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        yield


def stored(rank: int, world: int, folder: Path) -> Any:
    """Half of a run, stored by torch.distributed.checkpoint; then the other half."""
    mine = Rank(rank, world, "rssm", wrap=shard, total_steps=STEPS).train(54)
    with _without_a_warning():
        save({"trainer": mine.trainer}, checkpoint_id=folder / "run")
    files = {one.name: one.read_bytes() for one in (folder / "run").iterdir()}
    return {**mine.train(STEPS).found(), "files": files}


def loaded(rank: int, world: int, folder: Path) -> Any:
    """The other half, by a new trainer over weights of other numbers."""
    mine = Rank(rank, world, "rssm", wrap=shard, total_steps=STEPS)
    with torch.no_grad():
        for one in mine.model.parameters():
            one.mul_(2.0)
    with _without_a_warning():
        load({"trainer": mine.trainer}, checkpoint_id=folder)
    assert mine.trainer.num_updates == 54
    return mine.train(STEPS).found()


def out_of_memory(rank: int, folder: str) -> int:
    """One of two; in the second, memory runs out before a forward pass in which the first waits for its pieces."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    mine = Rank(rank, 2, wrap=shard, total_steps=STEPS)

    def loss_fn(model: torch.nn.Module, batch: Any) -> torch.Tensor:
        if rank == 1 and mine.trainer.num_updates == 20:
            raise torch.OutOfMemoryError("none left here")
        return cross_entropy(model, batch)

    mine.trainer._c.full.loss_fn = loss_fn
    mine.train(STEPS)
    return 0


SCENARIOS: list[Callable[[int, int, Path], Any]] = [
    evaluated,
    undone,
    sizes,
    not_finite,
    probe_fails,
    fails_in_eval_mode,
    sent,
    refused,
    attached,
    attached_and_loaded,
    stored,
]


def all_of_two(rank: int, world: int, folder: Path, of_one: Path) -> Any:
    """Everything for two processes; `of_one` is where one process stored its half of a run."""
    found: dict[str, Any] = {name: run(name, rank, world) for name in RUNS}
    for scenario in SCENARIOS:
        found[scenario.__name__] = scenario(rank, world, folder)
    found["loaded"] = loaded(rank, world, folder / "run")
    found["loaded of one"] = loaded(rank, world, of_one)
    return found


def all_of_four(rank: int, world: int, folder: Path) -> Any:
    """Two replicas of two pieces each."""
    return {name: run(name, rank, world, replicated) for name in ("nesterov", "rssm")}
