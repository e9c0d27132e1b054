"""What stored runs say of policies: worth at one rate, and with each policy at the best of the rates that were run."""

import json
import math
import runpy
from pathlib import Path

import numpy as np
import pytest

from hpt.jump.policy import NONE

SCRIPTS = Path(__file__).parents[2] / "scripts"
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(SCRIPTS)  # as for a script that is called
    STUDY = runpy.run_path(str(SCRIPTS / "policy_study.py"))
NAMES, WORST, load = (STUDY[name] for name in ("NAMES", "WORST", "load"))
LONGER = 1.4


def store(
    folder: Path, rate: float, policy: str, loss: float | None, steps: int = 100, end_frac: float | None = None
) -> None:
    cell = {"workload": "mlp", "optimizer": "adamw", "steps": steps, "lr_factor": rate, "seed": 0}
    row = {"cell": cell | {"policy": policy, "window_end_frac": end_frac, "forks": False}, "final_loss": loss}
    name = f"{rate}-{policy}-{steps}-{end_frac}.json"
    (folder / name).write_text(json.dumps(row))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two rates: without jumps 1.0 and 1.1; every policy 0.9 at the first; at the second `full` 0.8, the others 1.2.

    A run 1.4 times as long, at the first rate, ends a tenth of an e-fold's unit lower: 1 - 0.5 log(1.4).
    """
    for policy in NAMES:
        store(tmp_path, 1.0, policy, 0.9)
        store(tmp_path, 0.7, policy, 0.8 if policy == "full" else 1.2)
    store(tmp_path, 1.0, NONE, 1.0)
    store(tmp_path, 0.7, NONE, 1.1)
    store(tmp_path, 1.0, NONE, 1.0 - 0.5 * math.log(LONGER), steps=140)
    return tmp_path


def test_worth_is_loss_saved_over_what_an_e_fold_of_steps_saves(folder: Path) -> None:
    """0.1 saved of 0.5 an e-fold is 0.2; only the rate with a longer run is a setting."""
    (setting,) = load([folder], LONGER)
    assert setting.lr_factor == 1.0
    assert setting.gained == pytest.approx(0.5)
    np.testing.assert_allclose(setting.worth[0], 0.2, rtol=1e-12)


def test_each_policy_is_tuned_by_itself_against_no_jumps_at_their_best(folder: Path) -> None:
    """`full` at the lower rate saves 0.2 against the 1.0 of the higher rate without jumps; the others stay at 0.1."""
    (setting,) = load([folder], LONGER)
    expected = [0.4 if name == "full" else 0.2 for name in NAMES]
    np.testing.assert_allclose(setting.tuned_worth[0], expected, rtol=1e-12)
    assert setting.rates == [0.7, 1.0]


def test_a_policy_that_diverged_at_every_rate_is_worth_the_worst(folder: Path) -> None:
    """A run that diverged at one rate only counts by the other."""
    store(folder, 1.0, "full", None)
    store(folder, 1.0, "half", None)
    store(folder, 0.7, "half", None)
    (setting,) = load([folder], LONGER)
    by_name = dict(zip(NAMES, setting.tuned_worth[0].tolist(), strict=True))
    assert by_name["full"] == pytest.approx(0.4)
    assert by_name["half"] == WORST
    assert setting.worth[0][NAMES.index("full")] == WORST


def test_a_window_that_ends_early_and_the_default_are_arms_of_their_own(folder: Path) -> None:
    """`full` to half of the run, 0.7 at the best rate, is worth 0.6, and leaves `full` to the end what it was."""
    for rate, early, default in ((1.0, 0.7, 0.75), (0.7, 0.9, 0.95)):
        store(folder, rate, "full", early, end_frac=0.5)
        store(folder, rate, "default", default)
    (setting,) = load([folder], LONGER)
    assert setting.arms == {0: {"full-until0.5": pytest.approx(0.6), "default": pytest.approx(0.5)}}
    assert setting.tuned_worth[0][NAMES.index("full")] == pytest.approx(0.4)


def test_an_arm_counts_only_where_every_rate_has_it(folder: Path) -> None:
    """What was run at one rate alone is not tuned."""
    store(folder, 1.0, "default", 0.5)
    (setting,) = load([folder], LONGER)
    assert setting.arms == {0: {}}


def test_jumps_that_end_early_are_a_measurement_where_every_policy_ended_so(folder: Path) -> None:
    """0.85 at the higher rate, 0.7 at the lower; without jumps 1.0 at best: worth (1.0 - 0.7) / 0.5 on that seed."""
    for policy in NAMES:
        store(folder, 1.0, policy, 0.85, end_frac=0.5)
        store(folder, 0.7, policy, 0.7, end_frac=0.5)
    (setting,) = load([folder], LONGER)
    np.testing.assert_allclose(setting.early_worth[0], 0.6, rtol=1e-12)
    assert setting.early_rates == [0.7, 1.0]
    (folder / "0.7-full-100-0.5.json").unlink()
    (setting,) = load([folder], LONGER)
    assert setting.early_worth == {}
