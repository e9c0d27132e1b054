"""Two processes that train one model on different halves of each batch, by gloo on this machine, and their one twin.

A scenario is a function of this module's kind, `scenario(rank, world, folder) -> Any`, importable in a new process.
"""

import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from references.forking import Forking
from references.process_server import start_process_server
from torch.multiprocessing.spawn import start_processes

from hpt import HybridConfig, HybridTrainer
from hpt.records import EventRecord, JumpRecord, Record

Scenario = Callable[[int, int, Path], Any]
STEPS = 144
SETTINGS: dict[str, Any] = {"full_steps": 12, "warmup_steps": 36, "gate": "always", "total_steps": STEPS}


def in_two(scenario: Scenario) -> list[Any]:
    """What the scenario returns in each of two processes, by rank."""
    return in_group(scenario, 2)


def in_group(scenario: Scenario, world: int) -> list[Any]:
    """What it returns in each of so many, forked from the server, which has imported torch."""
    start_process_server()
    with tempfile.TemporaryDirectory() as folder:
        start_processes(_in_group, (scenario, world, folder), nprocs=world, start_method="forkserver")
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(world)]


def alone(scenario: Scenario, folder: Path) -> Any:
    """What it returns in this one, which sees whole batches."""
    return scenario(0, 1, folder)


def _in_group(rank: int, scenario: Scenario, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    meeting, wait = f"file://{folder}/meeting", timedelta(seconds=120)  # one that waits for the other must not wait on
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world, timeout=wait)
    try:
        torch.save(scenario(rank, world, Path(folder)), Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


class Rank:
    """Model, data and trainer of one process.

    Args:
        rank: of the process.
        world: processes.
        predictor: name, or one of its own.
        loss_fn: another than cross-entropy.
        model: another than a small perceptron, before it is wrapped.
        wrap: for several processes.
        settings: over `SETTINGS`.
    """

    def __init__(
        self,
        rank: int,
        world: int,
        predictor: Any = "nesterov",
        loss_fn: Callable[..., torch.Tensor] | None = None,
        model: torch.nn.Module | None = None,
        wrap: Callable[[torch.nn.Module], torch.nn.Module] = torch.nn.parallel.DistributedDataParallel,
        **settings: Any,
    ) -> None:
        torch.manual_seed(0)
        self.rank, self.world = rank, world
        self.bare = (_perceptron() if model is None else model).double()
        self.model = wrap(self.bare) if world > 1 else self.bare
        torch.manual_seed(100 + rank)  # dropout differs
        optimizer = torch.optim.AdamW(self.model.parameters(), 3e-3)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)
        own = None if isinstance(predictor, str) else predictor
        name = predictor if own is None else "nesterov"
        config = HybridConfig.from_dict({**SETTINGS, "predictor": name, **settings})
        self.records: list[Record] = []
        self.trainer = HybridTrainer(
            self.model, optimizer, loss_fn or cross_entropy, config, schedule, self.records.append, own
        )

    def batch(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """This process's share of a batch of 32, all of it where it is alone."""
        generator = torch.Generator().manual_seed(1000 + index)
        inputs = torch.randn(32, 20, generator=generator).double()
        noise = torch.randn(32, 10, generator=generator)
        targets = (inputs @ _teacher() + noise).argmax(1)
        return inputs[self.rank :: self.world], targets[self.rank :: self.world]

    def train(self, steps: int = STEPS) -> "Rank":
        """To a number of net updates."""
        while self.trainer.num_updates < steps:
            self.trainer.step(self.batch(self.trainer.num_calls))
        return self

    def found(self) -> dict[str, Any]:
        """Weights by name, what became of each jump, events, counters."""
        events = [one for one in self.records if isinstance(one, EventRecord)]
        jumps = [one for one in self.records if isinstance(one, JumpRecord)]
        return {
            "weights": {name: whole(one.detach()).clone() for name, one in self.bare.named_parameters()},
            "jumps": [(one.step, one.verdict, round(one.gain, 9)) for one in jumps],
            "events": [(one.step, one.name) for one in events if one.name != "memory_freed"],
            "counters": self.trainer.summary()["counters"],
        }


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A DTensor gathered, any other as it is."""
    gather = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


def cross_entropy(model: torch.nn.Module, batch: Any) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(model(batch[0]), batch[1])


def _perceptron() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(20, 48), torch.nn.ReLU(), torch.nn.Linear(48, 10))


def _teacher() -> torch.Tensor:
    return torch.randn(20, 10, generator=torch.Generator().manual_seed(1)).double()


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Of all weights, relative to their norms."""
    return max(float((one[name] - other[name]).norm() / other[name].norm()) for name in other)


# Scenarios


def with_nesterov(rank: int, world: int, folder: Path) -> Any:
    """The fixed rule."""
    return Rank(rank, world).train().found()


def with_rssm(rank: int, world: int, folder: Path) -> Any:
    """The default."""
    return Rank(rank, world, "rssm").train().found()


def with_ramp(rank: int, world: int, folder: Path) -> Any:
    """Along the plain trend."""
    return Rank(rank, world, predict={"preset": "ramp"}).train().found()


def with_a_fork(rank: int, world: int, folder: Path) -> Any:
    """Three policies are tried at update 60, one goes on."""
    fork = Forking((60,), ("half", "full-kept", "full"), 1, 22, plays="half")
    return Rank(rank, world, fork).train().found()


def with_accumulation(rank: int, world: int, folder: Path) -> Any:
    """Two micro-batches an update; collectives of the first update are counted."""
    mine = Rank(rank, world, update={"accumulation_steps": 2})
    sent: list[int] = []
    if isinstance(mine.model, torch.nn.parallel.DistributedDataParallel):
        mine.model.register_comm_hook(sent, _counting)
    mine.train(1)
    first = len(sent)
    return {**mine.train().found(), "sent": first, "updates": 1}


def _counting(sent: list[int], bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:  # pyright: ignore[reportPrivateImportUsage]
    sent.append(1)
    work: Any = dist.all_reduce(bucket.buffer(), async_op=True)
    return work.get_future().then(lambda done: done.value()[0].div_(dist.get_world_size()))


def probe_fails_in_one(rank: int, world: int, folder: Path) -> Any:
    """In the second process alone every probe raises."""
    mine = Rank(rank, world)
    if rank == 1:

        def fails(*_: Any) -> None:
            raise ValueError("only here")

        probe: Any = mine.trainer._c.probe
        probe._losses = fails
    return mine.train().found()


def not_finite_in_one(rank: int, world: int, folder: Path) -> Any:
    """In the second process alone one batch's loss is NaN at update 100."""
    mine = Rank(rank, world)
    seen = [0]

    def loss_fn(model: torch.nn.Module, batch: Any) -> torch.Tensor:
        seen[0] += model.training
        loss = cross_entropy(model, batch)
        return loss * torch.nan if seen[0] == 100 and rank == 1 and model.training else loss

    mine.trainer._c.full.loss_fn = loss_fn
    return mine.train().found()


def predictor_fails_in_one(rank: int, world: int, folder: Path) -> Any:
    """In the second process alone it raises at the end of a cycle."""
    mine = Rank(rank, world)
    if rank == 1:

        def fails(*_: Any) -> None:
            raise ValueError("only here")

        inner: Any = mine.trainer._c.predictor.inner
        inner.end_cycle = fails
    return mine.train().found()


def predictor_differs_in_one(rank: int, world: int, folder: Path) -> Any:
    """In the second process it wants half of what the first wants."""
    return Rank(rank, world, predict={"policy": "half" if rank else "full"}).train().found()


def short_of_memory_in_one(rank: int, world: int, folder: Path) -> Any:
    """The last process alone uses more than its threshold, which halves the horizon step by step."""
    degrade_at = 2.0 if rank == world - 1 else None
    return Rank(rank, world, memory={"degrade_at": degrade_at, "check_interval": 15}).train().found()


def saved_in_a_fork(rank: int, world: int, folder: Path) -> Any:
    """Saved while the branch without jumps of a fork is run, with dropout and paired probes; loaded by new trainers."""
    place = folder / "run.ckpt"

    def fresh() -> Rank:
        model = torch.nn.Sequential(torch.nn.Linear(20, 48), torch.nn.Dropout(0.2), torch.nn.Linear(48, 10))
        fork = Forking((60,), ("half", "full-kept", "full"), 1, 22, plays="half")
        return Rank(rank, world, fork, model=model, probe={"batches": 4})

    whole = fresh().train(75)
    whole.trainer.save(place)
    whole.train()
    again = fresh()
    again.trainer.load(place)
    again.train()
    return {"whole": whole.found(), "again": again.found()}


def saved_and_resumed(rank: int, world: int, folder: Path) -> Any:
    """Saved in the middle of a cycle, with dropout; loaded by new trainers."""
    place = folder / "run.ckpt"

    def fresh() -> Rank:
        model = torch.nn.Sequential(torch.nn.Linear(20, 48), torch.nn.Dropout(0.2), torch.nn.Linear(48, 10))
        return Rank(rank, world, "rssm", model=model)

    whole = fresh().train(100)
    whole.trainer.save(place)
    written = [one.name for one in folder.iterdir() if one.name.startswith("run.ckpt")]
    whole.train()
    again = fresh()
    again.trainer.load(place)
    before = torch.get_rng_state()
    again.train()
    return {
        "whole": whole.found(),
        "again": again.found(),
        "written": written,
        "rng": before,
        "place": place.read_bytes(),
    }


SCENARIOS: dict[str, Scenario] = {
    one.__name__: one
    for one in (
        with_nesterov,
        with_rssm,
        with_ramp,
        with_a_fork,
        with_accumulation,
        probe_fails_in_one,
        not_finite_in_one,
        predictor_fails_in_one,
        predictor_differs_in_one,
        short_of_memory_in_one,
        saved_in_a_fork,
        saved_and_resumed,
    )
}


def every_scenario(rank: int, world: int, folder: Path) -> dict[str, Any]:
    """All of them one after the other, by name: a new process takes longer to begin than most of them to run."""
    found: dict[str, Any] = {}
    for name, scenario in SCENARIOS.items():
        place = folder / name
        place.mkdir(exist_ok=True)
        found[name] = scenario(rank, world, place)
    return found
