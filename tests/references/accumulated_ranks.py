"""What happens in the middle of an accumulated update, in two processes and in their one twin.

All scenarios run in one start of the group, which takes most of the time.
"""

from pathlib import Path
from typing import Any

import torch
from references.ranks import Rank, cross_entropy
from references.sharded_ranks import shard

STEPS = 60
PARTS = 4
FAILS_AT = 26, 46
"""Calls of a loss function that raises: in the second micro-batch of an update, and in the last of a later one."""


def _odd() -> torch.nn.Module:
    layers = torch.nn.Linear(20, 48), torch.nn.BatchNorm1d(48), torch.nn.Dropout(0.2), torch.nn.Linear(48, 10)
    return torch.nn.Sequential(*layers)


def _rank(rank: int, world: int, **more: Any) -> Rank:
    return Rank(rank, world, total_steps=STEPS, warmup_steps=12, update={"accumulation_steps": PARTS}, **more)


def saved_on_the_way(rank: int, world: int, folder: Path, predictor: str = "rssm") -> Any:
    """Saved after two micro-batches of the update after the 20th; the rest of the run, and that of a new trainer."""
    place = folder / f"{predictor}.ckpt"
    whole = _rank(rank, world, predictor=predictor, model=_odd()).train(20)
    for _ in range(2):
        whole.trainer.step(whole.batch(whole.trainer.num_calls))
    partial = [one.grad.clone() for one in whole.bare.parameters() if one.grad is not None]
    whole.trainer.save(place)
    whole.train(STEPS)
    again = _rank(rank, world, predictor=predictor, model=_odd())
    again.trainer.load(place)
    again.train(STEPS)
    return {"whole": whole.found(), "again": again.found(), "partial": partial, "content": place.read_bytes()}


def saved_plain(rank: int, world: int, folder: Path) -> Any:
    """The same of the plain loop."""
    return saved_on_the_way(rank, world, folder, "none")


def continued(rank: int, world: int, place: Path) -> Any:
    """By a new trainer, to the end of the run; how it began."""
    mine = _rank(rank, world, predictor="rssm", model=_odd())
    mine.trainer.load(place)
    began = {"calls": mine.trainer.num_calls, "is_clear": all(one.grad is None for one in mine.bare.parameters())}
    return {**mine.train(STEPS).found(), **began}


def failing(rank: int, world: int, folder: Path, **more: Any) -> Any:
    """The loss function raises twice in all processes; the caller goes on with the next batch."""
    mine = _rank(rank, world, **more)
    calls = [0]

    def loss_fn(model: torch.nn.Module, batch: Any) -> torch.Tensor:
        loss = cross_entropy(model, batch)
        calls[0] += 1
        if calls[0] in FAILS_AT:
            raise ValueError("not this one")
        return loss

    mine.trainer._c.full.loss_fn = loss_fn
    num_failed = index = 0
    while mine.trainer.num_updates < STEPS:
        try:
            mine.trainer.step(mine.batch(index))
        except ValueError:
            num_failed += 1
        index += 1
    return {**mine.found(), "failed": num_failed}


def failing_in_pieces(rank: int, world: int, folder: Path) -> Any:
    """Under fully_shard."""
    return failing(rank, world, folder, wrap=shard)


def stored_in_pieces(rank: int, world: int, folder: Path) -> Any:
    """Stored by name and loaded by the same trainer, two micro-batches into an update; two updates more."""
    mine = _rank(rank, world, wrap=shard).train(5)
    for index in (20, 21):
        mine.trainer.step(mine.batch(index))
    mine.trainer.load_state_dict(mine.trainer.state_dict())
    return mine.train(7).found()


SCENARIOS = (saved_on_the_way, saved_plain, failing, failing_in_pieces, stored_in_pieces)


def all_of_two(rank: int, world: int, folder: Path) -> Any:
    """Everything for two processes."""
    return {one.__name__: one(rank, world, folder) for one in SCENARIOS}
