"""The counters add up, and the seconds add up to the wall time."""

import time
from itertools import pairwise

import pytest
from references.problems import teacher

from hpt.records import Phase, PhaseRecord, Record, StepRecord
from hpt.trainer.ledger import Ledger


def test_counters_and_seconds_add_up() -> None:
    """Every forward, backward, update, jump and call is accounted for once; parts and phases sum to the wall time."""
    problem, records = teacher(), list[Record]()
    trainer = problem.trainer(records, gate="always")
    began = time.perf_counter()
    problem.run(trainer, 150)
    elapsed_s = time.perf_counter() - began
    summary = trainer.summary()
    counters, seconds = summary["counters"], summary["seconds"]
    steps = [record for record in records if isinstance(record, StepRecord)]
    assert sum(record.num_backward for record in steps) == counters["backwards"]
    assert counters["forwards"] == counters["backwards"] + counters["probe_forwards"]
    assert counters["optimizer_updates"] == 150 + counters["updates_rolled_back"]
    assert counters["jumps_proposed"] == counters["jumps_accepted"] + counters["jumps_rejected"]
    assert sum(summary["phases"].values()) == trainer.num_calls == len(steps)
    assert sum(seconds["part"].values()) == pytest.approx(summary["wall_s"], rel=0.02)
    assert sum(seconds["phase"].values()) == pytest.approx(summary["wall_s"], rel=0.02)
    assert summary["wall_s"] <= elapsed_s
    assert counters["jumps_proposed"] > 0
    equivalents = counters["backwards"] + counters["probe_forwards"] / 3
    assert counters["full_step_equivalents"] == pytest.approx(equivalents)


def test_phase_records_tell_the_order_of_phases() -> None:
    """Stretches follow each other without a gap, in the order of the transition table."""
    problem, records = teacher(), list[Record]()
    trainer = problem.trainer(records, gate="always")
    problem.run(trainer, 60)
    trainer.finish()
    stretches = [record for record in records if isinstance(record, PhaseRecord)]
    names = [record.phase for record in stretches]
    assert names[:4] == [Phase.WARMUP, Phase.FULL, Phase.PREDICT, Phase.CORRECT]
    assert sum(record.num_calls for record in stretches) == trainer.num_calls
    for before, after in pairwise(stretches):
        assert after.first_call == before.first_call + before.num_calls


def test_laps_charge_everything_since_the_last_one() -> None:
    """Two laps and the rest of the call sum to the call."""
    ledger = Ledger()
    ledger.begin()
    time.sleep(0.01)
    ledger.lap("first")
    time.sleep(0.02)
    ledger.lap("second")
    total = ledger.end(Phase.FULL)
    assert ledger.part_s["first"] >= 0.01
    assert ledger.part_s["second"] >= 0.02
    assert sum(ledger.part_s.values()) == pytest.approx(total, rel=1e-6)
