"""Every example of the page on loops of one's own runs as it stands, and what the page says of it is so."""

from pathlib import Path

import pytest
import torch
from references.attach_page import EXAMPLES, NUM_UPDATES, names, run, train
from references.host_processes import in_all

TRACKERS = {"tensorboard", "wandb", "mlflow"}  # run in tests/integrations


@pytest.mark.parametrize("example", ["loop", "list", "accumulation", "scaler"])
def test_loops_make_jumps(example: str) -> None:
    """Those of the page, over all batches: updates are counted as the page says, and some are followed by a jump."""
    space = run(example)
    summary = space["jumps"].summary()
    assert summary["num_updates"] == (NUM_UPDATES // 4 if example == "accumulation" else NUM_UPDATES)
    assert summary["has_losses"]
    assert summary["jumps_accepted"] > 0 or example in {"list", "accumulation"}, summary  # Muon; too short


@pytest.mark.parametrize("example", ["silent", "policy", "probe"])
def test_ways_to_attach_make_jumps(example: str) -> None:
    """In the page's loop."""
    space = run(example)
    train(space, 400)
    assert space["jumps"].summary()["jumps_accepted"] > 5


def test_a_checkpoint_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the updates and jumps counted so far, to the weights of the run that was not stopped."""
    monkeypatch.chdir(tmp_path)
    ends: list[torch.Tensor] = []
    for stops in (False, True):
        space = names(attach=True)
        train(space, 333)
        space = run("checkpoint", **space) if stops else space
        train(space, 100)
        assert space["jumps"].summary()["num_updates"] == 433
        ends.append(torch.cat([one.detach().reshape(-1) for one in space["model"].parameters()]))
    assert torch.equal(*ends)


def test_processes_stay_the_same(tmp_path: Path) -> None:
    """Each on batches of its own."""
    first, second = in_all("documented", tmp_path)
    assert first["jumps"] == second["jumps"] > 0
    assert torch.equal(first["weights"], second["weights"])


def test_no_example_is_left_out() -> None:
    """Those above and the trackers' are all."""
    ours = {"loop", "list", "accumulation", "scaler", "silent", "policy", "probe", "checkpoint", "processes"}
    assert set(EXAMPLES) == ours | TRACKERS
