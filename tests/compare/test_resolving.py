"""Running until the intervals are narrow enough: when it stops, what it says before, and what the results then hold."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from references.known_results import T, baseline, loss_of, make_result, worth

from hpt.compare.alpha_spending import FIRST_LOOK, Looks
from hpt.compare.arms import BASELINE
from hpt.compare.attempts import Attempts
from hpt.compare.cells import Cell
from hpt.compare.comparison import ComparisonRun
from hpt.compare.measures import measure
from hpt.compare.request import ComparisonFolder, ComparisonRequest
from hpt.compare.roster import ARMS
from hpt.compare.widening import widened, widened_ratio
from hpt.statistics import standard_error

SEEDS = (0, 1, 2, 3)


def noisy(ratios: Sequence[float]) -> list[Any]:
    """Results of seeds that each stand for another length."""
    return [make_result(loss_of(ratio * T, seed), T) for seed, ratio in zip(SEEDS, ratios, strict=True)]


def test_the_interval_is_that_of_the_look() -> None:
    """Mean +- factor of the look x standard error of the logarithms, wider than Student's."""
    looks = Looks(planned=6)
    plain = measure(ARMS["hybrid"], baseline(SEEDS), noisy((1.1, 1.2, 1.15, 1.12)))
    found = widened(plain, looks).work_ratio
    logs = [math.log(one) for one in plain.work_ratio.by_seed]
    half = looks.factor(4) * standard_error(logs)
    assert found.estimate.t_high == pytest.approx(sum(logs) / 4 + half)
    assert found.estimate.t_low == pytest.approx(sum(logs) / 4 - half)
    assert plain.work_ratio.low is not None
    assert found.low is not None
    assert found.low < plain.work_ratio.low
    assert found.by_seed == plain.work_ratio.by_seed


def test_a_p_value_is_just_below_the_least_level_that_excludes_no_difference() -> None:
    """1 where the interval at 5 % holds it; else below .05 / k exactly where the interval at that level does not."""
    looks = Looks(planned=6)
    none, clear = (
        measure(ARMS["hybrid"], baseline(SEEDS), noisy(ratios)).work_ratio
        for ratios in ((1.1, 0.9, 1.05, 0.96), (1.1, 1.2, 1.15, 1.12))
    )
    assert widened_ratio(none, looks).estimate.p == 1.0
    p = widened_ratio(clear, looks).estimate.p
    assert p is not None
    count = round(0.05 / p)
    logs = [math.log(one) for one in clear.by_seed]
    for level, is_excluded in ((0.05 / count, True), (0.05 / (count + 1), False)):
        low = sum(logs) / 4 - Looks(planned=6, alpha=level).factor(4) * standard_error(logs)
        assert (low > 0.0) is is_excluded


def test_before_the_first_look_there_is_no_interval() -> None:
    """Two seeds are looked at by nobody."""
    found = widened(measure(ARMS["hybrid"], baseline((0, 1)), worth(1.2, seeds=(0, 1))), Looks())
    assert (found.work_ratio.low, found.work_ratio.estimate.p) == (None, None)


class MadeUp(Attempts):
    """Cells whose results are made up: the arm trains 1.2 times as far, give or take `spread` by seed."""

    spread = 0.0

    def run(self, what: str, cells: Sequence[Cell], *, jobs: int | None = None, again: bool = False) -> dict[str, str]:
        """Store results in no time."""
        for cell in cells:
            if not self._folder.has(cell):
                swing = self.spread * math.sin(1.0 + 2.0 * cell.seed)
                gain = 1.0 if cell.arm == BASELINE else 1.2 * math.exp(swing)
                self._folder.store(cell, make_result(3.0 - 0.2 * math.log(gain * cell.steps), cell.steps))
        return {}


def concluded(folder: Path, spread: float) -> tuple[dict[str, Any], list[str]]:
    """The summary of a comparison with at most eight seeds that is to resolve 3 %, and what was told on the way."""
    told: list[str] = []
    request = ComparisonRequest(
        workloads="mlp=1000", arms="hybrid", resolve=0.03, seeds=8, tuning_cache=str(folder / "t")
    )
    kept = ComparisonFolder(folder / "c")
    (folder / "c").mkdir()
    kept.begin(request)

    def show(what: str, total: int) -> Any:
        pytest.fail(f"nothing is shown, but {total} {what} are")

    run = ComparisonRun(request, kept, jobs=1, show=show, tell=told.append)
    run._attempts = attempts = MadeUp(kept.cells, jobs=1, show=show)
    attempts.spread = spread
    assert not run.run()
    return run.conclude(["hpt"], figures=False), told


def test_it_stops_at_the_first_look_when_that_says_enough(tmp_path: Path) -> None:
    """Seeds that nearly agree: three of eight, and the plan says so."""
    summary, told = concluded(tmp_path, 0.002)
    assert summary["settings"]["seeds"] == [0, 1, 2]
    (answer,) = summary["resolution"]["answers"]
    assert (answer["num_seeds"], answer["settled"]) == (FIRST_LOOK, "known to the resolution")
    assert answer["low"] < 1.2 < answer["high"]
    assert any("takes 3 paired seeds" in line for line in told)


def test_it_goes_on_while_the_interval_is_too_wide_and_ends_with_the_seeds_allowed(tmp_path: Path) -> None:
    """A spread of a tenth: all eight seeds, and the question is not said to be settled as precise."""
    summary, told = concluded(tmp_path, 0.3)
    assert summary["settings"]["seeds"] == list(range(8))
    (answer,) = summary["resolution"]["answers"]
    assert answer["settled"] is None
    assert "goes on" in answer["sentence"]
    assert any("to go at most: 5 paired seeds, 35 cells" in line for line in told)


def test_every_interval_of_the_summary_is_that_of_the_look(tmp_path: Path) -> None:
    """The measure in the document has the ends of the answer, which are wider than Student's."""
    summary, _ = concluded(tmp_path, 0.05)
    (answer,) = summary["resolution"]["answers"]
    ratio = summary["workloads"]["mlp"]["arms"]["hybrid"]["measures"]["work_ratio"]
    assert (ratio["t_low"], ratio["t_high"]) == pytest.approx((answer["low"], answer["high"]))
    assert "no claim follows" in summary["overall"]["hybrid"]["sentence"]


def test_seeds_that_are_added_later_do_not_change_what_the_looks_were_planned_for() -> None:
    """Eight were planned; a resumed comparison may run twelve."""
    begun = ComparisonRequest(resolve=0.03, seeds=8).begun()
    again = ComparisonRequest(seeds=12).over(begun).begun()
    assert (begun.looks, again.looks, len(again.plan().seeds)) == (8, 8, 12)


def test_a_cell_that_failed_is_not_tried_again_by_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all cells fail each is asked for once; a resumed comparison tries all of them anew."""
    asked: list[str] = []

    def failing(cells: Sequence[Cell], *_: Any, **__: Any) -> dict[str, str]:
        asked.extend(cell.key for cell in cells)
        return {cell.key: "no" for cell in cells}

    monkeypatch.setattr("hpt.compare.attempts.run_cells", failing)
    request = ComparisonRequest(workloads="mlp=100", arms="hybrid", seeds=2, tuning_cache=str(tmp_path / "t"))
    for num_runs in (1, 2):
        run = ComparisonRun(
            request, ComparisonFolder(tmp_path), jobs=1, show=lambda _what, _total: nullcontext(lambda _: None)
        )
        assert not run.run()
        assert len(asked) == num_runs * len(set(asked)) == num_runs * len(run.failed) > 0
