"""`hpt estimate` end to end: what it prints and returns, and what it says of factories that are no good."""

import json
from pathlib import Path
from typing import Any

import pytest

from hpt.cli.main import run

FACTORIES = """
import torch
from torch import nn

WIDTH = 512


def _parts(device=None):
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH, device=device), nn.ReLU(), nn.Linear(WIDTH, 1, device=device))
    return model, torch.zeros(8, WIDTH), torch.optim.AdamW(model.parameters(), foreach=True)


def four():
    print("a word of the factory's")
    return *_parts(), lambda model, batch: model(batch).square().mean()


def reads():
    if float(torch.ones(1)) == 1.0:
        return four()


def three():
    return _parts()


def fails():
    raise RuntimeError("no such corpus")
"""
WEIGHTS = (512 * 512 + 512 + 512 + 1) * 4


@pytest.fixture(autouse=True)
def _in_a_folder_with_factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "estimated_factories.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def _document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", ["four", "reads"])
def test_a_factory_of_four_parts_is_estimated(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Five times the weights with AdamW on lists of tensors; stdout is JSON alone, whatever the factory prints."""
    assert run(["estimate", f"estimated_factories:{name}", "--json"]) == 0
    document = _document(capsys)
    assert document["breakdown"]["weights"] == WEIGHTS
    assert document["total_bytes"] == pytest.approx(5 * WEIGHTS, rel=0.05)
    assert sum(document["breakdown"].values()) == document["total_bytes"]
    assert (document["fits"], document["largest_batch"], document["batch_size"]) == (None, None, 8)


@pytest.mark.parametrize(("budget", "code"), [("16", 0), ("0.1", 3)])
def test_the_exit_code_says_whether_it_fits(budget: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """0 or, as a finding, 3, with the largest batch that does."""
    assert run(["estimate", "estimated_factories:four", "--budget-gb", budget, "--json"]) == code
    document = _document(capsys)
    assert document["fits"] is (code == 0)
    assert (document["largest_batch"] >= 8) is (code == 0)


def test_in_words_it_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """The peak, its parts, the smallest device, and the answer; nothing of what is empty."""
    assert run(["estimate", "estimated_factories:four", "--budget-gb", "16"]) == 0
    said = capsys.readouterr().out
    assert "weights" in said
    assert "trajectory" not in said
    assert "it fits 16.0 GiB at batch 8; the largest batch that fits is" in said


def test_a_workload_is_estimated_by_name_and_with_prediction(capsys: pytest.CaptureFixture[str]) -> None:
    """Its copies are beside the device, or inside on the host."""
    found: dict[str, dict[str, Any]] = {}
    for device in ("cuda", "cpu"):
        assert run(["estimate", "mlp", "--hybrid", "--device", device, "--json"]) == 0
        found[device] = _document(capsys)
    weights = found["cpu"]["breakdown"]["weights"]
    assert found["cuda"]["host_bytes"] >= 5 * weights
    assert found["cpu"]["breakdown"]["trajectory"] == 2 * weights


@pytest.mark.parametrize(
    ("target", "code", "words"),
    [
        ("estimated_factories:three", 1, "it must be a Workload or (model, batch, optimizer, loss_fn)"),
        ("estimated_factories:fails", 1, "no such corpus"),
        ("estimated_factories:absent", 1, "cannot be loaded"),
        ("no_such_module_of_mine:four", 1, "go to its folder"),
        ("mpl", 2, "did you mean"),
    ],
)
def test_what_cannot_be_estimated_is_one_line(
    target: str, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the cause, and nothing on stdout."""
    assert run(["estimate", target]) == code
    said = capsys.readouterr()
    assert words in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
