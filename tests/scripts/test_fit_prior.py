"""The prior from planted settings: a kind whose jumps pay only where they end early gets the entry of those runs."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(SCRIPTS)  # as for a script that is called
    FIT = runpy.run_path(str(SCRIPTS / "fit_prior.py"))
entries, entry_of_kind, ends_early = (FIT[name] for name in ("entries", "entry_of_kind", "ends_early"))
NAMES, Row, Setting = (FIT[name] for name in ("NAMES", "Row", "Setting"))
SEEDS = range(6)


def planted(workload: str, whole: float, early: float, spread: float = 0.01) -> Any:
    """A setting of AdamW; every policy is worth the same, give or take, through the whole window and ended early."""
    setting = Setting(workload, "adamw", {"cnn": 2500, "mlp": 6000}[workload], 1.0, Path(), rates=[1.0])
    for seed in SEEDS:
        off = spread * (seed - 2.5)
        setting.worth[seed] = setting.tuned_worth[seed] = np.full(len(NAMES), whole + off)
        setting.early_worth[seed] = np.full(len(NAMES), early + off)
    return setting


def test_a_kind_whose_jumps_pay_only_ended_early_says_so() -> None:
    """The CNN's entry is of the runs that ended early; the MLP's, where ending early loses, is not."""
    settings = [planted("cnn", -0.1, 0.15), planted("mlp", 0.3, 0.1)]
    found = entries(settings, settings)
    np.testing.assert_allclose(found["adam-normalised"]["mean"], 0.15, atol=1e-5)
    assert found["adam-normalised"]["window_end_frac"] == 0.5
    np.testing.assert_allclose(found["adam-plain"]["mean"], 0.3, atol=1e-5)
    assert "window_end_frac" not in found["adam-plain"]


def test_what_other_runs_begin_with_does_not_know_of_early_ends() -> None:
    """Entries of the family and of any run, and of the other kinds, are those without the runs that ended early."""
    mlp = planted("mlp", 0.3, 0.1)
    with_early, without = (
        entries(both, both) for both in ([planted("cnn", -0.1, early), mlp] for early in (0.15, -0.2))
    )
    assert with_early["adam-normalised"] != without["adam-normalised"]
    for name in ("adam", "any", "adam-plain"):
        assert with_early[name] == without[name]


def test_runs_that_ended_early_count_only_where_they_are_asked_for() -> None:
    """What beliefs are scored against is what policies are worth through the whole window."""
    settings = [planted("cnn", -0.1, 0.15), planted("mlp", 0.3, 0.1)]
    found = entries(settings)
    np.testing.assert_allclose(found["adam-normalised"]["mean"], -0.1, atol=1e-5)
    assert not any("window_end_frac" in entry for entry in found.values())


@pytest.mark.parametrize(
    ("early", "best", "expected"),
    [
        ([0.1, 0.12, 0.08], 0.0, True),
        ([0.1, 0.12, 0.08], 0.09, False),
        ([0.3, -0.2, 0.2], 0.0, False),
        ([0.5], 0.0, False),
    ],
    ids=("proven", "no better than the whole window", "noise", "one seed proves nothing"),
)
def test_ending_early_must_be_better_by_two_standard_errors(early: list[float], best: float, expected: bool) -> None:
    """0.1, 0.12, 0.08 have mean 0.1 and standard error 0.0115; 0.3, -0.2, 0.2 have 0.1 and 0.153."""
    assert ends_early([Row(str(one), "mlp", np.array([one])) for one in early], best) is expected


def test_every_workload_counts_alike_however_many_seeds_it_has() -> None:
    """Ten seeds of worth 0.3 on one workload and two of 0.1 on another: 0.2 is expected of a third."""
    rows = [Row(f"cnn {seed}", "cnn", np.array([0.3])) for seed in range(10)]
    rows += [Row(f"mlp_norm {seed}", "mlp_norm", np.array([0.1])) for seed in range(2)]
    found = entry_of_kind(rows, np.zeros((1, 1)))
    assert found["mean"] == [pytest.approx(0.2)]
    assert len(found["runs"]) == 12


def test_the_spread_of_equally_many_seeds_is_the_sample_variance_shrunk_to_that_of_all_kinds() -> None:
    """Worths 0.1, 0.2, 0.3: squares 0.02 about the mean; (4 x 0.01 + 0.02) / (4 + 2) x (1 + 1/3)."""
    rows = [Row(str(worth), "mlp", np.array([worth])) for worth in (0.1, 0.2, 0.3)]
    found = entry_of_kind(rows, np.array([[0.01]]))
    assert found["covariance"][0][0] == pytest.approx((4 * 0.01 + 0.02) / 6 * 4 / 3, abs=1e-6)
