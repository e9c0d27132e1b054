"""A small run of `hpt train` that meets a fault where the environment says, and what it left behind.

PLANTED_AT is the batch at which PLANTED_FAULT (a signal's name, `error`, or `nan` in the data) happens;
PLANTED_MODEL=frozen leaves nothing to train; PLANTED_LOSS makes the loss a `vector` or `nan`.
"""

import json
import os
import signal
from pathlib import Path
from typing import Any

import torch

from hpt.cli.main import run
from hpt.jsonfiles import read_lines
from hpt.workloads.regression import Pair, Regression

STEPS = 80
SETTINGS = """
warmup_steps = 20
full_steps = 10
gate = "always"
[predict]
window_start_frac = 0.1
window_end_frac = 0.95
[checkpoint]
save_interval = 15
"""
FLAGS = ("--workload", "references.faulty_run:make", "--steps", str(STEPS), "--config", "settings.toml")
QUIET = ("--predictor", "nesterov", "--device", "cpu", "--threads", "1")


class FaultyRegression(Regression):
    """Full-batch regression with a planted fault."""

    name = "faulty"

    def batch(self, index: int) -> Pair:
        """The batch, after the fault if this is its place."""
        inputs, targets = super().batch(index)
        if index != int(os.environ.get("PLANTED_AT", "-1")):
            return inputs, targets
        if os.environ["PLANTED_FAULT"] == "nan":
            return inputs * float("nan"), targets
        _meet(os.environ["PLANTED_FAULT"])
        return inputs, targets

    def build_model(self) -> torch.nn.Module:
        """The model, with nothing to train if that is the fault."""
        model = super().build_model()
        return model.requires_grad_(os.environ.get("PLANTED_MODEL") != "frozen")

    def loss(self, model: torch.nn.Module, batch: Pair) -> torch.Tensor:
        """Mean squared error, or what the fault makes of it."""
        mean = super().loss(model, batch)
        faults = {"vector": mean.expand(2), "nan": mean * float("nan")}
        return faults.get(os.environ.get("PLANTED_LOSS", ""), mean)


def _meet(fault: str) -> None:
    if fault == "error":
        raise ValueError("the data ended early")
    os.kill(os.getpid(), getattr(signal, fault))


def make(*, seed: int, data: Path | None, device: torch.device) -> FaultyRegression:
    """Factory for `--workload references.faulty_run:make`."""
    return FaultyRegression(seed=seed, device=device)


def train(*extra: str) -> int:
    """Run it in this process, in the folder `out` of the working folder; returns the exit code."""
    return run(["train", *FLAGS, *QUIET, "--out", "out", *extra])


def stored(out: str = "out") -> dict[str, Any]:
    """What run.json says."""
    return json.loads(Path(out, "run.json").read_text())


def losses(out: str = "out") -> list[tuple[int, str, float]]:
    """Call, phase and loss of each line of steps.jsonl."""
    return [(line["call"], line["phase"], line["loss"]) for line in read_lines(Path(out, "steps.jsonl"))]


def jumps(out: str = "out") -> list[dict[str, Any]]:
    """The jumps in events.jsonl."""
    return [line for line in read_lines(Path(out, "events.jsonl")) if line["kind"] == "jump"]


def assert_same_run(one: str, other: str) -> None:
    """Two runs did the same, bit for bit; only their times differ."""
    assert losses(one) == losses(other)
    assert jumps(one) == jumps(other)
    for key in ("final_loss", "phases", "counters", "num_calls", "confidence", "predictor"):
        assert stored(one)[key] == stored(other)[key], key
