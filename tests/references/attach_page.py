"""Examples of docs/attach.md, run with the names that the page calls the reader's."""

import re
from pathlib import Path
from typing import Any

import torch
from references.problems import teacher

import hpt

PAGE = Path(__file__).parents[2] / "docs" / "attach.md"
EXAMPLES = dict(
    re.findall(r"<!-- example: (\S+) -->\n```python\n(.*?)```\n<!-- /example -->", PAGE.read_text(), re.DOTALL)
)
NUM_UPDATES = 600


def names(*, attach: bool = False) -> dict[str, Any]:
    """What is the reader's; also, where the example goes on from another, what that one left."""
    problem = teacher(total=NUM_UPDATES)
    given: dict[str, Any] = {
        "torch": torch,
        "hpt": hpt,
        "HybridConfig": hpt.HybridConfig,
        "model": problem.model,
        "optimizer": problem.optimizer,
        "loader": [problem.batch(number) for number in range(NUM_UPDATES)],
        "loss_fn": problem.loss_fn,
        "n": NUM_UPDATES,
        "device": "cpu",
    }
    if attach:
        given["jumps"] = hpt.attach(problem.optimizer, hpt.HybridConfig(total_steps=NUM_UPDATES), model=problem.model)
    return given


def run(example: str, **more: Any) -> dict[str, Any]:
    """Names after the example."""
    space = names() | more
    exec(compile(EXAMPLES[example], f"{PAGE.name}: {example}", "exec"), space)
    return space


def train(space: dict[str, Any], updates: int) -> None:
    """The page's loop, without attaching."""
    for batch in space["loader"][:updates]:
        loss = space["loss_fn"](space["model"], batch)
        loss.backward()
        space["jumps"].observe(loss)
        space["optimizer"].step()
        space["optimizer"].zero_grad()
