"""The cells whose seconds are wanted, run again where those that they have cannot be compared."""

from collections.abc import Sequence

from hpt.compare.arms import DISJOINT_SEEDS
from hpt.compare.attempts import Attempts
from hpt.compare.cells import Cell, CellFolder
from hpt.compare.machines import machine_of


def run_timings(wanted: Sequence[Cell], folder: CellFolder, attempts: Attempts) -> None:
    """Run cells that had company again, alone; then all of a pair of seeds whose cells were timed on other machines.

    Args:
        wanted: whose seconds are compared; one without a result is left out.
        folder: where results are kept.
        attempts: of this process.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM.
        DiskError: results cannot be stored.
    """
    for what, cells in (("timings", untimed), ("timings on one machine", timed_apart)):
        again = cells(wanted, folder)
        if again:
            attempts.run(what, again, jobs=1, again=True)


def untimed(wanted: Sequence[Cell], folder: CellFolder) -> list[Cell]:
    """The stored cells whose seconds cannot be compared, see `CellResult.is_timed`."""
    results = [(cell, folder.load(cell)) for cell in wanted]
    return [cell for cell, result in results if result is not None and not result.is_timed]


def timed_apart(wanted: Sequence[Cell], folder: CellFolder) -> list[Cell]:
    """All of every workload and pair's seed whose cells do not all come from one kind of machine."""
    pairs: dict[tuple[str, int], list[tuple[Cell, tuple[object, ...]]]] = {}
    for cell in wanted:
        result = folder.load(cell)
        if result is not None:
            pairs.setdefault((cell.workload, cell.seed % DISJOINT_SEEDS), []).append((cell, machine_of(result)))
    return [cell for found in pairs.values() if len({machine for _, machine in found}) > 1 for cell, _ in found]
