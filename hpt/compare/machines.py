"""Whether seconds of two cells may be compared: only where both ran on one kind of machine, with the same libraries.

The cells of one comparison may come from several machines. Losses do not care, and are compared wherever they were
trained; seconds do.
"""

from hpt.compare.cells import CellResult

FACTS = (
    *("platform", "cpu_model", "num_cores", "num_usable_cores", "memory_bytes", "device", "device_name"),
    *("threads", "python", "torch", "numpy"),
)
"""Of `CellResult.environment`: what decides how fast the same work is done."""


def machine_of(result: CellResult) -> tuple[object, ...]:
    """The facts of the machine that a cell was timed on; None for those that are not known."""
    return tuple(result.environment.get(name) for name in FACTS)


def are_comparable(one: CellResult, other: CellResult) -> bool:
    """Seconds of both can be compared: each ran alone, on machines that do not differ in any stored fact."""
    return one.is_timed and other.is_timed and machine_of(one) == machine_of(other)
