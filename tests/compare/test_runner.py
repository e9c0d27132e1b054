"""Cells in processes: results do not depend on company, finished ones are never run again, failures are told."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from references.known_results import make_result

from hpt.compare.cells import Cell, CellFolder, CellResult, Recipe
from hpt.compare.roster import ARMS
from hpt.compare.runner import Progress, _Keeper, run_cells
from hpt.run.processes import ChildJob, JobEnd


def cells(count: int = 2, steps: int = 100) -> list[Cell]:
    """Baseline and hybrid of some seeds."""
    hybrid = ARMS["hybrid"].recipe(Recipe())
    recipes = {"baseline": Recipe(), "hybrid": replace(hybrid, config=hybrid.config | {"warmup_steps": 20})}
    return [
        Cell(workload="regression", arm=arm, seed=seed, steps=steps, recipe=recipe)
        for seed in range(count)
        for arm, recipe in recipes.items()
    ]


def outcome(result: CellResult | None) -> tuple[object, ...]:
    """What does not depend on clocks and memory."""
    assert result is not None
    return result.final_loss, result.counters, result.curve, result.jump_ratio, result.confidence


def run(path: Path, wanted: list[Cell], jobs: int = 1) -> tuple[CellFolder, dict[str, str], list[Progress]]:
    folder, seen = CellFolder(path), list[Progress]()
    failed = run_cells(wanted, folder, jobs=jobs, watcher=seen.append)
    return folder, failed, seen


def were_alone(folder: CellFolder, wanted: list[Cell]) -> list[bool]:
    return [result is not None and result.alone for result in map(folder.load, wanted)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> CellFolder:
    """All cells, one after the other."""
    return run(tmp_path_factory.mktemp("alone"), cells())[0]


def test_two_jobs_change_no_result(alone: CellFolder, tmp_path: Path) -> None:
    """Losses, work, curves, jumps and confidence to the last bit."""
    together, failed, _ = run(tmp_path, cells(), jobs=2)
    assert failed == {}
    for cell in cells():
        assert outcome(together.load(cell)) == outcome(alone.load(cell))


def test_only_cells_without_company_say_they_ran_alone(alone: CellFolder, tmp_path: Path) -> None:
    """With two jobs the first two at least share the machine."""
    assert all(were_alone(alone, cells()))
    together, _, _ = run(tmp_path, cells(1), jobs=2)
    assert not any(were_alone(together, cells(1)))


def test_finished_cells_are_not_run_again(alone: CellFolder) -> None:
    """Their files stay as they are, and nothing is started."""
    before = {path: path.stat().st_mtime_ns for path in alone.path.iterdir()}
    _, failed, seen = run(alone.path, cells())
    assert (failed, seen) == ({}, [])
    assert {path: path.stat().st_mtime_ns for path in alone.path.iterdir()} == before


def test_only_what_is_missing_is_run(alone: CellFolder, tmp_path: Path) -> None:
    """A folder with half of the cells gets the other half, and counts both."""
    folder = CellFolder(tmp_path)
    first = cells()[0]
    result = alone.load(first)
    assert result is not None
    folder.store(first, replace(result, final_loss=123.0))
    _, _, seen = run(tmp_path, cells())
    ended = [progress.last[0].key for progress in seen if progress.last is not None]
    assert ended == [cell.key for cell in cells()[1:]]
    assert seen[-1].done == len(cells())
    kept = folder.load(first)
    assert kept is not None
    assert kept.final_loss == 123.0


def test_running_again_renews_times_and_nothing_else(tmp_path: Path) -> None:
    """Two cells that had company run again alone; their losses are what they were."""
    wanted = cells(1)
    folder, _, _ = run(tmp_path, wanted, jobs=2)
    before = [outcome(folder.load(cell)) for cell in wanted]
    assert run_cells(wanted, folder, again=True) == {}
    assert [outcome(folder.load(cell)) for cell in wanted] == before
    assert all(were_alone(folder, wanted))


def test_another_loss_the_second_time_is_a_failure(tmp_path: Path) -> None:
    """The first result stays."""
    (cell, _), folder = cells(1, steps=20), CellFolder(tmp_path)
    run(tmp_path, [cell])
    result = folder.load(cell)
    assert result is not None
    folder.store(cell, replace(result, final_loss=123.0))
    failed = run_cells([cell], folder, again=True)
    assert "second run" in failed[cell.key]
    kept = folder.load(cell)
    assert kept is not None
    assert kept.final_loss == 123.0


def test_no_cell_counts_as_alone_where_other_processes_work(tmp_path: Path) -> None:
    """Even one that no other cell of its own process ran beside."""
    (cell, _), folder = cells(1, steps=20), CellFolder(tmp_path)
    assert run_cells([cell], folder, in_company=True) == {}
    assert were_alone(folder, [cell]) == [False]


def keep(
    folder: CellFolder, cell: Cell, result: CellResult, *, again: bool = False, known: Sequence[Cell] = ()
) -> _Keeper:
    """What the runner does as a cell ends with this result, beside stored ones."""
    job = ChildJob(key=cell.key, target="", arguments={})
    end = JobEnd(job=job, documents=(asdict(result),), exit_code=0, error=None, words="", wall_s=1.0, alone=False)
    keeper = _Keeper(folder, [cell], 1, again=again, in_company=False)
    keeper.learn(known)
    keeper.keep(end)
    return keeper


def test_a_result_that_another_process_stored_first_stays(tmp_path: Path) -> None:
    """It was missing as this process began; the file is not touched, and it counts as done."""
    (cell, _), folder = cells(1, steps=20), CellFolder(tmp_path)
    folder.store(cell, make_result(1.0, 20))
    before = folder.file_of(cell).stat().st_mtime_ns
    keeper = keep(folder, cell, make_result(1.0, 20, train_s=9.0))
    assert (keeper.failed, keeper.num_done) == ({}, 1)
    assert folder.file_of(cell).stat().st_mtime_ns == before
    assert were_alone(folder, [cell]) == [True]


@pytest.mark.parametrize(("cpu", "fails"), [("one", True), ("another", False)])
def test_losses_have_to_repeat_on_one_machine_alone(tmp_path: Path, cpu: str, fails: bool) -> None:
    """Another processor may round otherwise; the first loss stays, the times are the new ones, with their machine."""
    (cell, _), folder = cells(1, steps=20), CellFolder(tmp_path)
    folder.store(cell, make_result(1.0, 20, environment={"cpu_model": "one"}))
    keeper = keep(folder, cell, make_result(2.0, 20, train_s=9.0, environment={"cpu_model": cpu}), again=True)
    assert (cell.key in keeper.failed) is fails
    kept = folder.load(cell)
    assert kept is not None
    assert kept.final_loss == 1.0
    assert (kept.environment["cpu_model"], kept.train_s) == (("one", 0.2) if fails else ("another", 9.0))


@pytest.mark.parametrize(("seed", "chance", "fails"), [(0, 5.1, True), (0, 5.0 + 1e-9, False), (1, 5.1, False)])
def test_a_cell_trained_on_other_text_than_its_seed_is_a_failure(
    tmp_path: Path, seed: int, chance: float, fails: bool
) -> None:
    """As on a machine with another Python, whose standard library is another text; other seeds are other pairs."""
    (first, cell, *_), folder = cells(1, steps=20), CellFolder(tmp_path)
    cell = replace(cell, seed=seed)
    folder.store(first, make_result(1.0, 20))
    keeper = keep(folder, cell, make_result(2.0, 20, chance_loss=chance), known=[first])
    assert (list(keeper.failed) == [cell.key]) is fails
    assert folder.has(cell) is not fails
    if fails:
        assert f"other data than {first.key}" in keeper.failed[cell.key]
        assert "--data" in keeper.failed[cell.key]


def test_a_cell_that_fails_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    """A workload that cannot be made; it has no result, so a resumed comparison tries again."""
    bad = Cell(workload="no_such_module:make", arm="baseline", seed=0, steps=10, recipe=Recipe())
    good = cells(1, steps=20)
    folder, failed, _ = run(tmp_path, [bad, *good])
    assert list(failed) == [bad.key]
    assert "no_such_module" in failed[bad.key]
    assert [folder.has(cell) for cell in (bad, *good)] == [False, True, True]


def test_a_process_that_dies_is_told(tmp_path: Path) -> None:
    """Killed from outside, by the system for want of memory for example."""
    deadly = Cell(workload="references.deadly_workload:make", arm="baseline", seed=0, steps=10, recipe=Recipe())
    _, failed, _ = run(tmp_path, [deadly])
    assert "-9" in failed[deadly.key]
