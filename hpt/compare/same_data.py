"""Whether cells may be compared: only where those of one workload and seed were trained on the same data.

Losses of a text workload on a machine with another Python, whose standard library is another text, say nothing about
the arm. What gives data away is the loss of knowing nothing but the targets' frequencies, stored with every result.
"""

import math

from hpt.compare.cells import Cell, CellResult

RELATIVE = 1e-6
"""Rounding of that loss by other versions of libraries stays below; other text lies above."""
REMEDY = "run the cells of one seed with one Python, or all of them with --data and copies of the same text"


class SameData:
    """What each workload's seeds were seen to be trained on first."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, int], tuple[str, float]] = {}

    def objection(self, cell: Cell, result: CellResult) -> str | None:
        """Why the cell cannot be compared with one seen before; None if it can, or is its seed's first."""
        key, chance = self._first.setdefault((cell.workload, cell.seed), (cell.key, result.chance_loss))
        if math.isclose(chance, result.chance_loss, rel_tol=RELATIVE):
            return None
        return (
            f"it was trained on other data than {key}, of the same workload and seed: knowing nothing costs "
            f"{result.chance_loss:.6g}, there {chance:.6g}"
        )
