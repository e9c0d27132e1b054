"""Processes that train one model on different data by DistributedDataParallel, with jumps attached; run in each."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from references.fresh_process import FreshProcess
from references.host_loop import Loop
from references.problems import Problem, teacher, weights_of
from references.records import events_of
from torch.nn.parallel import DistributedDataParallel

from hpt import HptError
from hpt.distributed.together import Together

NUM = 2


def enter(function: str, rank: int, folder: str) -> int:
    """Entry of a process: join the others, call the function of that name, store what it returns."""
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=NUM)
    try:
        torch.save(globals()[function](rank), Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()
    return 0


def shared(rank: int) -> Problem:
    """The teacher under DDP: each process has batches of its own."""
    problem = teacher()
    problem.model = DistributedDataParallel(problem.model)
    batch = problem.batch
    problem.batch = lambda index: batch(NUM * index + rank)
    return problem


def told(loop: Loop) -> dict[str, Any]:
    assert loop.jumps is not None
    return {
        "weights": weights_of(loop.problem.model),
        "jumped": loop.jumped,
        "events": [(one.name, one.message) for one in events_of(loop.records)],
        "losses": [] if loop.jumps._run is None else loop.jumps._run.history.past_losses.tolist(),
    }


def observing(rank: int) -> dict[str, Any]:
    """By the RSSM's preset, with the losses of each process."""
    return told(Loop(shared(rank)).attach(predictor="rssm").run(75))


def probing(rank: int) -> dict[str, Any]:
    """With a probe that says something else in each, and is undone by the mean alone."""
    loop = Loop(shared(rank))
    values = iter(range(10**6))
    return told(loop.attach(lambda: 10.0 + rank * (next(values) % 2) * 20.0).run(45))


def failing(rank: int) -> dict[str, Any]:
    """With a probe that raises in the last process."""

    def probe() -> float:
        if rank == NUM - 1:
            raise RuntimeError("no data here")
        return 1.0

    return told(Loop(shared(rank)).attach(probe).run(75))


def blown_up(rank: int) -> dict[str, Any]:
    """A loss that is NaN in one process after a jump, its gradients left alone."""
    loop = Loop(shared(rank)).attach()
    show = loop.show
    loop.show = lambda loss: show(loss * torch.nan if rank == 1 and loop.num_updates == 60 else loss)  # pyright: ignore[reportAttributeAccessIssue]
    return told(loop.run(65))


def saving(rank: int) -> dict[str, Any]:
    """The first process alone asks for the state at every update; all load what it had at the 64th, and go on."""
    loop = Loop(shared(rank)).attach()
    states: list[Any] = [None]
    while loop.num_updates < 64:
        loop.update()
        if rank == 0:
            states[0] = loop.problem.optimizer.state_dict()
    dist.broadcast_object_list(states, src=0)
    again = Loop(shared(rank)).attach()
    again.problem.model.load_state_dict(loop.problem.model.state_dict())
    again.problem.optimizer.load_state_dict(states[0])
    assert again.problem.scheduler is not None
    assert loop.problem.scheduler is not None
    again.problem.scheduler.load_state_dict(loop.problem.scheduler.state_dict())
    again.num_updates, again.num_batches = loop.num_updates, loop.num_batches
    return told(again.run(95))


def failed(act: Callable[[], object]) -> str:
    try:
        act()
    except Exception as error:  # noqa: BLE001 (its kind is what is asked for)
        return type(error).__name__
    return ""


def refused(act: Callable[[], object]) -> str:
    try:
        act()
    except HptError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def uneven(rank: int) -> dict[str, Any]:
    """Losses are shown in the first process alone; a state is loaded there alone."""
    loop = Loop(shared(rank), observes=rank == 0).attach()
    shown = refused(loop.update)
    state = Loop(teacher()).attach().run(14).jumps
    assert state is not None
    stored = state.state_dict()
    loop = Loop(shared(rank)).attach()
    assert loop.jumps is not None
    if rank == 0:
        loop.jumps.load_state_dict(stored)
    return {"shown": shown, "loaded": refused(loop.update)}


def together(rank: int) -> dict[str, Any]:
    """What `Together` says by itself."""
    groups: list[Any] = [dist.new_group([one]) for one in range(NUM)]
    all_of_them, alone = Together(), Together(groups[rank])
    return {
        "num": all_of_them.num_processes,
        "mean": all_of_them.mean(np.array([float(rank), 0.1, np.nan if rank else 1.0])).tolist(),
        "any": all_of_them.any([False, rank == 1, True]),
        "add": all_of_them.add(torch.tensor([rank, 0.5])).tolist(),
        "alike": [all_of_them.are_alike((1.5, "a")), all_of_them.are_alike(rank)],
        "all_of": all_of_them.all_of(f"of {rank}"),
        "to_first": all_of_them.to_first(f"of {rank}"),
        "agree": all_of_them.agree(lambda: [float(rank), 4.0]),
        "failed": failed(lambda: all_of_them.agree(lambda: [1.0 / (1 - rank)])),
        "once": all_of_them.once(lambda: f"from {rank}"),
        "failed_once": failed(lambda: all_of_them.once(lambda: 1.0 / rank)),
        "alone": (alone.num_processes, alone.mean(np.array([float(rank)])).tolist()),
    }


def in_all(function: str, folder: Path) -> list[dict[str, Any]]:
    """What a function of this module returned, by process."""
    processes = [FreshProcess("references.host_processes:enter", [function, rank, str(folder)]) for rank in range(NUM)]
    ended = [one.end() for one in processes]
    assert [one.returncode for one in ended] == [0] * NUM, "\n".join(one.stderr for one in ended)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(NUM)]


def documented(rank: int) -> dict[str, Any]:
    """The page's example of several processes, then its loop on every second batch."""
    from references import attach_page

    space = attach_page.run("processes")
    space["loader"] = space["loader"][rank::NUM]
    attach_page.train(space, 300)
    return {"jumps": space["jumps"].summary()["jumps_accepted"], "weights": weights_of(space["model"])}
