"""Whether `hpt bench compare` cries wolf, and whether it sees a wolf: two proofs from real runs.

    A/A       twenty pairs of separate runs of the same code over four scenarios; any alarm in a pair is a false one
    planted   further runs in which each of the four scenarios does 15 % more work; each must come out as regressed

The runs of a pair follow one another, so that a machine that changes in between shows. Every run is stored as it ends;
the same command goes on where it was stopped. It takes about half an hour; leave the machine alone meanwhile.

    python scripts/measure_alarms.py --out runs/alarms --result reports/evidence/alarms.json
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hpt.bench.bootstrap import RESAMPLES
from hpt.bench.comparison import ALPHA, MIN_EFFECT_FRAC, BenchComparison, compare
from hpt.bench.discovery import Located, load_source
from hpt.bench.folder import BenchFolder
from hpt.bench.measurement import read_measurements
from hpt.bench.plan import MODES, BenchSettings
from hpt.bench.scenario import Measured, Preset, Scenario
from hpt.bench.session import carry_out
from hpt.jsonfiles import write_json
from hpt.machine import utc_now

SOURCES = {
    "state_history/record_step": "hpt_scenarios.state_history:SCENARIOS",
    "state_encoding/compute_features": "hpt_scenarios.state_encoding:SCENARIOS",
    "rssm_prediction/horizon_25": "hpt_scenarios.rssm_prediction:SCENARIOS",
    "weight_delta/apply": "hpt_scenarios.weight_delta:SCENARIOS",
}
SLOWDOWN_FRAC = 0.15
GATE_FRAC = 0.05


def originals() -> list[Scenario]:
    """The four scenarios."""
    found = {one.full_name: one for source in SOURCES.values() for one in load_source(source)}
    return [found[name] for name in SOURCES]


def slowed(scenario: Scenario) -> Scenario:
    """The same scenario under the same name, with 15 % more calls than are counted."""
    return replace(scenario, set_up=partial(_set_up_slowed, scenario.set_up))


def _set_up_slowed(set_up: Callable[[Preset], Measured], preset: Preset) -> Measured:
    measured = set_up(preset)
    return replace(measured, call=None, time_loops=partial(_time_slowed, measured))


def _time_slowed(measured: Measured, loops: int) -> float:
    return _time(measured, loops + max(1, round(loops * SLOWDOWN_FRAC)))  # the least only matters while calibrating


def _time(measured: Measured, loops: int) -> float:
    if measured.time_loops is not None:
        return measured.time_loops(loops)
    call: Any = measured.call
    began = time.perf_counter()
    for _ in range(loops):
        call()
    return time.perf_counter() - began


SLOWED = tuple(map(slowed, originals()))
"""What the workers of the planted runs load."""


def located(*, planted: bool) -> list[Located]:
    """The four scenarios as workers find them."""
    if planted:
        return [Located(f"{Path(__file__).stem}:SLOWED", scenario) for scenario in SLOWED]
    return [Located(SOURCES[scenario.full_name], scenario) for scenario in originals()]


def measure(folder: Path, settings: BenchSettings, *, planted: bool) -> None:
    """One run, unless it is there."""
    files = BenchFolder(folder, settings)
    outcome = carry_out(
        located(planted=planted),
        {},
        files,
        watch=lambda *_: None,
        is_stopped=lambda: False,
        timeout_s=1800,
    )
    if outcome.failures:
        raise SystemExit(f"{folder}: {outcome.failures}")
    print(f"{utc_now()}  {folder}", file=sys.stderr, flush=True)


def compared(old: Path, new: Path) -> BenchComparison:
    """Two stored runs, with the gate of the manual's example."""
    return compare(read_measurements(old / "bench.json"), read_measurements(new / "bench.json"), gate_frac=GATE_FRAC)


def rows_of(comparison: BenchComparison) -> dict[str, Any]:
    """What is kept of a comparison."""
    return {
        "alarms": [row.name for row in comparison.alarms],
        "past_gate": [row.name for row in comparison.past_gate],
        "control_ratio": None if comparison.control is None else comparison.control[0],
        "verdicts": {row.name: row.verdict.value for row in comparison.rows},
        "ratios": {row.name: [row.low, row.ratio, row.high] for row in comparison.rows},
        "p_values": {row.name: row.p_value for row in comparison.rows},
    }


def pairs(out: Path, settings: BenchSettings, num_pairs: int) -> Iterator[dict[str, Any]]:
    """A/A comparisons of separate runs, two runs each."""
    for number in range(num_pairs):
        old, new = out / f"pair-{number:02}" / "old", out / f"pair-{number:02}" / "new"
        for folder in (old, new):
            measure(folder, settings, planted=False)
        yield rows_of(compared(old, new))


def planted(out: Path, settings: BenchSettings, num_planted: int) -> Iterator[dict[str, Any]]:
    """Slowed runs, each over the later run of a pair."""
    for number in range(num_planted):
        folder = out / f"planted-{number:02}"
        measure(folder, settings, planted=True)
        yield rows_of(compared(out / f"pair-{number:02}" / "new", folder))


def document(
    settings: BenchSettings, same: list[dict[str, Any]], slow: list[dict[str, Any]], out: Path
) -> dict[str, Any]:
    """Both proofs, as plain values."""
    caught = [sum(verdict == "regressed" for verdict in one["verdicts"].values()) for one in slow]
    return {
        "schema_version": 1,
        "what": "false alarms of hpt bench compare between separate runs of the same code, and a planted slowdown",
        "settings": settings.to_document(),
        "sampling": {"processes": MODES[settings.mode].processes, "values": MODES[settings.mode].values},
        "statistics": {
            "alpha": ALPHA,
            "min_effect_frac": MIN_EFFECT_FRAC,
            "gate_frac": GATE_FRAC,
            "resamples": RESAMPLES,
        },
        "machine": BenchFolder(out / "pair-00" / "old", settings).machine,
        "same_code": {
            "num_comparisons": len(same),
            "num_with_alarm": sum(bool(one["alarms"]) for one in same),
            "num_past_gate": sum(bool(one["past_gate"]) for one in same),
            "comparisons": same,
        },
        "planted": {
            "slowdown_frac": SLOWDOWN_FRAC,
            "num_scenarios": len(slow) * len(SOURCES),
            "num_caught": sum(caught),
            "num_past_gate": sum(len(one["past_gate"]) for one in slow),
            "comparisons": slow,
        },
        "written_at": utc_now(),
    }


def main() -> None:
    """Measure what is missing, compare, and write one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--result", type=Path, required=True, help="JSON file, rewritten after every comparison")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--planted", type=int, default=5, help="slowed runs, at most as many as pairs")
    parser.add_argument("--mode", choices=sorted(MODES), default="default")
    parser.add_argument("--affinity")
    arguments = parser.parse_args()
    settings = BenchSettings(mode=arguments.mode, affinity=arguments.affinity)
    arguments.result.parent.mkdir(parents=True, exist_ok=True)
    same: list[dict[str, Any]] = []
    slow: list[dict[str, Any]] = []
    for kept, found in (
        (same, pairs(arguments.out, settings, arguments.pairs)),
        (slow, planted(arguments.out, settings, min(arguments.planted, arguments.pairs))),
    ):
        for one in found:
            kept.append(one)
            write_json(arguments.result, document(settings, same, slow, arguments.out))
    print(f"{sum(bool(one['alarms']) for one in same)} of {len(same)} comparisons of the same code raised an alarm")
    caught = sum(verdict == "regressed" for one in slow for verdict in one["verdicts"].values())
    print(f"{caught} of {len(slow) * len(SOURCES)} planted slowdowns were called regressed")


if __name__ == "__main__":
    main()
