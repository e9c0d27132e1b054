"""The configurations that estimates are held to, and the verdict on them."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
CELLS: Any = import_module("estimate_cells").CELLS
summary_of: Any = import_module("measure_estimates").summary_of


def test_there_are_enough_configurations_of_every_kind() -> None:
    """At least 24, each once, over the models, optimizers, formats and ways of training that are to be shown."""
    assert len(CELLS) == len({one.name for one in CELLS}) >= 24
    assert {"gpt2", "gpt2-medium", "byte-gpt", "cnn", "mlp", "lstm"} <= {one.model for one in CELLS}
    assert {"adamw-foreach", "adamw-fused", "muon", "soap", "sgd"} <= {one.optimizer for one in CELLS}
    assert {None, "bf16", "bf16-weights"} == {one.dtype for one in CELLS}
    assert any(one.is_hybrid for one in CELLS)
    assert any(one.is_checkpointed for one in CELLS)
    assert any(one.accumulation_steps > 1 for one in CELLS)


BUILT = """
from estimate_cells import CPU, Cell, trim_heap, resident_bytes, warm_up
cell = Cell(model="narrow-mlp", optimizer="soap", batch_size=64)
warm_up(CPU, cell)
trim_heap()
before = resident_bytes()
made = cell.make()
print(resident_bytes() - before)
"""


def test_an_optimizers_package_is_loaded_before_memory_is_measured() -> None:
    """Building model and SOAP, which has no state yet, takes the weights of three layers; its code takes 22 MiB more.

    In a process of its own, in which nothing has imported it. 5 %: whole pages and small objects.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SCRIPTS), str(SCRIPTS.parent)])}
    found = subprocess.run([sys.executable, "-c", BUILT], env=environment, capture_output=True, text=True, check=True)
    weights = 4 * (3 * (1024 + 1) * 1024 + (1024 + 1) * 1000)
    assert int(found.stdout) == pytest.approx(weights, rel=0.05)


def _row(error: float, *, falsely: bool = False) -> dict[str, Any]:
    """Measured on a GPU; the other ways of measuring say nothing."""
    return {
        "name": f"{error}",
        "measured": {"cuda": {}},
        "error_frac": {"cuda": error},
        "falsely_fits": ["cuda"] if falsely else [],
    }


@pytest.mark.parametrize(
    ("rows", "is_within"),
    [
        ([_row(-0.02), _row(0.03), _row(-0.08)], True),
        ([_row(-0.02), _row(0.03), _row(-0.081)], False),
        ([_row(-0.031), _row(0.035), _row(-0.02)], False),
        ([_row(-0.02), _row(0.03), _row(0.01, falsely=True)], False),
    ],
)
def test_median_worst_and_false_promises_decide(rows: list[dict[str, Any]], is_within: bool) -> None:
    """By size, whatever the sign: 3 % and 8 %, and nothing said to fit that does not."""
    summary = summary_of(rows, "cuda")
    assert summary["is_within"] is is_within
    assert summary["worst_error_frac"] == max(abs(one["error_frac"]["cuda"]) for one in rows)
    assert summary_of(rows, "mapped") is None
