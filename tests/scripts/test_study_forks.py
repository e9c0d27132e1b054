"""What the default saves in runs that the prior has not seen, from stored runs."""

import json
import runpy
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(SCRIPTS)  # as for a script that is called
    unseen = runpy.run_path(str(SCRIPTS / "study_forks.py"))["unseen"]


def store(folder: Path, seed: int, rate: float, policy: str, loss: float | None) -> None:
    cell = {"workload": "policy_variants:mlp_norm", "optimizer": "adamw", "steps": 100, "lr_factor": rate}
    row = {"cell": cell | {"seed": seed, "policy": policy, "forks": False}, "final_loss": loss}
    (folder / f"{seed}-{rate}-{policy}.json").write_text(json.dumps(row))


def test_both_ways_are_at_the_best_rate_of_those_at_which_both_were_run(tmp_path: Path) -> None:
    """No jumps 1.0 at rate 1, the default 0.9 at rate 0.5: 0.1 saved; rate 2, with one of the two, does not count."""
    for rate, without, chosen in ((1.0, 1.0, 0.95), (0.5, 1.2, 0.9)):
        store(tmp_path, 0, rate, "none", without)
        store(tmp_path, 0, rate, "default", chosen)
    store(tmp_path, 0, 2.0, "none", 0.5)
    (row,) = unseen(tmp_path)
    assert row == {
        "workload": "mlp_norm",
        "optimizer": "adamw",
        "steps": 100,
        "rates": [0.5, 1.0],
        "saved_by_seed": {"0": pytest.approx(0.1)},
    }


def test_every_seed_has_its_own_row_and_diverged_runs_none(tmp_path: Path) -> None:
    """Seed 1 loses 0.1 at its only rate; of seed 2 one run diverged."""
    for seed, without, chosen in ((0, 1.0, 0.8), (1, 1.0, 1.1), (2, 1.0, None)):
        store(tmp_path, seed, 1.0, "none", without)
        store(tmp_path, seed, 1.0, "default", chosen)
    (row,) = unseen(tmp_path)
    assert row["saved_by_seed"] == {"0": pytest.approx(0.2), "1": pytest.approx(-0.1)}
