"""The cells that one process brings to completion: each set behind a display, none that failed tried a second time."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from hpt.compare.cells import Cell, CellFolder
from hpt.compare.runner import Watcher, run_cells

Show = Callable[[str, int], AbstractContextManager[Watcher]]
"""Opens a display for so many cells of a kind."""


class Attempts:
    """What this process ran.

    Args:
        folder: where results are kept.
        jobs: cells at once.
        show: opens a display.
        in_company: other processes run cells of the same comparison.

    Attributes:
        failed: why cells have no result, by key.
    """

    def __init__(self, folder: CellFolder, *, jobs: int, show: Show, in_company: bool = False) -> None:
        self._folder, self._jobs, self._show, self._in_company = folder, jobs, show, in_company
        self.failed: dict[str, str] = {}

    def run(self, what: str, cells: Sequence[Cell], *, jobs: int | None = None, again: bool = False) -> dict[str, str]:
        """Run those that are not done; returns why any failed just now, by key.

        Args:
            what: they are, in the plural, for the display.
            cells: wanted.
            jobs: at once, if not as many as usual.
            again: those that are done, too, see `run_cells`.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM; finished cells are kept.
            DiskError: results cannot be stored.
        """
        cells = [cell for cell in cells if cell.key not in self.failed]  # a second time they would fail again
        if all(map(self._folder.has, cells)) and not again:
            return {}
        with self._show(what, len(cells)) as watcher:
            failed = run_cells(
                cells,
                self._folder,
                jobs=jobs or self._jobs,
                watcher=watcher,
                again=again,
                in_company=self._in_company,
            )
        self.failed |= failed
        return failed
