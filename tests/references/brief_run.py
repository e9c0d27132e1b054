"""Short real runs of the light scenarios."""

from pathlib import Path

from references import light_scenarios

from hpt.bench.discovery import Located
from hpt.bench.folder import BenchFolder
from hpt.bench.plan import Mode
from hpt.bench.session import BenchResult, carry_out

NAME = "fast"
BRIEF = Mode(processes=2, values=2, warmups=1, min_time_s=0.005)
"""Stands in for the mode of that name."""
LIGHT = "references.light_scenarios"
NAMES = ["light/sort_1", "light/sort_2", "light/sort_4"]


def located(name: str) -> Located:
    return Located(f"{LIGHT}:{name}", getattr(light_scenarios, name))


def light() -> list[Located]:
    return [Located(f"{LIGHT}:SCENARIOS", one) for one in light_scenarios.SCENARIOS]


def measure_all(folder: BenchFolder, chosen: list[Located]) -> tuple[BenchResult, list[tuple[str, str]]]:
    seen: list[tuple[str, str]] = []
    outcome = carry_out(chosen, {}, folder, watch=lambda *one: seen.append(one), is_stopped=lambda: False, timeout_s=60)
    return outcome, seen


def measured_in(path: Path) -> None:
    """A run of three scenarios of 1, 2 and 4 units of work, 2 processes of 2 values each."""
    from hpt.bench.plan import BenchSettings

    outcome, _ = measure_all(BenchFolder(path, BenchSettings(mode=NAME)), light())
    assert outcome.failures == {}
