"""Five verdicts from timings of known contents, the control, the gate, and what cannot be compared."""

import json
from typing import Any

import numpy as np
import pytest
from references.timings import drawn, measured

from hpt.bench import bootstrap
from hpt.bench.comparison import BenchComparison, SpeedVerdict, compare
from hpt.bench.measurement import Measurement
from hpt.errors import NothingMeasured


def run(**ratios: float) -> dict[str, Measurement]:
    """Scenarios g/<name> at these ratios, quiet enough to tell 15 % apart."""
    draw = np.random.default_rng(len(ratios) + round(1000 * sum(ratios.values())))
    return {f"g/{name}": measured(f"g/{name}", drawn(draw, ratio)) for name, ratio in ratios.items()}


def verdicts(comparison: BenchComparison) -> dict[str, SpeedVerdict]:
    return {row.name: row.verdict for row in comparison.rows}


def test_slower_faster_and_same_are_told_apart() -> None:
    """15 % up is a regression, 15 % down an improvement, nothing is the same."""
    found = compare(run(a=1, b=1, c=1), run(a=1.15, b=0.85, c=1.001))
    assert verdicts(found) == {"g/a": SpeedVerdict.REGRESSED, "g/b": SpeedVerdict.IMPROVED, "g/c": SpeedVerdict.SAME}
    assert [row.name for row in found.alarms] == ["g/a", "g/b"]
    assert found.rows[0].ratio == pytest.approx(1.15, rel=0.03)


def test_noise_is_called_noise() -> None:
    """An interval that holds 1 and reaches beyond the least effect tells nothing."""
    draw = np.random.default_rng(0)
    wild = [{"g/a": measured("g/a", drawn(draw, between=0.2))} for _ in range(2)]
    assert verdicts(compare(*wild)) == {"g/a": SpeedVerdict.WITHIN_NOISE}


def test_a_small_but_clear_difference_is_inconclusive() -> None:
    """4 % that are provably there, but not provably above 3 %."""
    draw = np.random.default_rng(1)
    old = {"g/a": measured("g/a", drawn(draw, k=8, between=0.01))}
    new = {"g/a": measured("g/a", drawn(draw, 1.04, k=8, between=0.01))}
    (row,) = compare(old, new).rows
    assert row.verdict == SpeedVerdict.INCONCLUSIVE
    assert row.low is not None
    assert row.low > 1
    assert row.note


def test_one_process_is_inconclusive() -> None:
    """Whatever it says."""
    found = compare({"g/a": measured("g/a", [[1, 1, 1]])}, {"g/a": measured("g/a", [[2, 2], [2, 2]])})
    assert verdicts(found) == {"g/a": SpeedVerdict.INCONCLUSIVE}
    assert found.rows[0].low is None


def test_a_slower_machine_is_not_a_regression() -> None:
    """Everything 15 % slower, the control too: no alarm, and the reason is said."""
    draw = np.random.default_rng(2)
    times = drawn(draw, 1.15)
    drift = [1.15 * float(np.exp(0.01 * draw.standard_normal())) for _ in times]
    old = {**run(a=1), "control": measured("control", drawn(draw, n=1))}
    new = {"g/a": measured("g/a", times, drift), "control": measured("control", [[one] for one in drift])}
    found = compare(old, new, gate_frac=0.05)
    assert verdicts(found) == {"g/a": SpeedVerdict.INCONCLUSIVE}
    assert "control" in found.rows[0].note
    assert not found.past_gate
    assert found.control is not None
    assert found.control[0] == pytest.approx(1.15, rel=0.03)
    assert "control" not in verdicts(found)


def test_a_faster_machine_hides_no_regression_as_an_improvement() -> None:
    """Code 15 % slower on a machine 30 % faster: times fall, so nothing is claimed."""
    draw = np.random.default_rng(3)
    new = {"g/a": measured("g/a", drawn(draw, 1.15 * 0.7), [0.7] * 6)}
    assert verdicts(compare(run(a=1), new)) == {"g/a": SpeedVerdict.INCONCLUSIVE}


def test_without_a_control_the_times_decide() -> None:
    """A file whose processes measured none can still be compared."""
    draw = np.random.default_rng(4)
    new = {"g/a": measured("g/a", drawn(draw, 1.2), [None] * 6)}
    found = compare(run(a=1), new)
    assert verdicts(found) == {"g/a": SpeedVerdict.REGRESSED}
    assert found.control is None
    assert found.rows[0].control_ratio is None


def test_the_gate_is_passed_only_provably() -> None:
    """15 % is past a gate of 5 % and not past one of 20 %; without a gate nothing is said of it."""
    old, new = run(a=1, b=1), run(a=1.15, b=1.0)
    assert [row.name for row in compare(old, new, gate_frac=0.05).past_gate] == ["g/a"]
    assert compare(old, new, gate_frac=0.2).past_gate == []
    assert {row.is_past_gate for row in compare(old, new).rows} == {None}
    assert compare(new, old, gate_frac=0.05).past_gate == []  # faster is past no gate


def test_what_is_past_the_gate_has_regressed() -> None:
    """Also where the gate is narrower than the least effect."""
    found = compare(run(a=1), run(a=1.03), gate_frac=0.002)
    assert {row.verdict for row in found.past_gate} <= {SpeedVerdict.REGRESSED}


def test_false_alarms_are_bounded_over_the_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 30 comparisons of like runs with four scenarios each, at least effect 0, at most 4 raise any alarm.

    A tenth of the resamples tells a standard error well enough for that.
    """
    monkeypatch.setattr(bootstrap, "RESAMPLES", bootstrap.RESAMPLES // 10)
    draw = np.random.default_rng(5)

    def once() -> dict[str, Measurement]:
        return {name: measured(name, drawn(draw, between=0.02, n=3)) for name in ("g/a", "g/b", "g/c", "g/d")}

    found = [compare(once(), once(), min_effect_frac=1e-9) for _ in range(30)]
    assert sum(bool(one.alarms) for one in found) <= 4


@pytest.mark.parametrize(("fact", "value"), [("cpu_model", "other"), ("threads", 2), ("preset", "reference")])
def test_other_machines_and_settings_are_not_comparable(fact: str, value: Any) -> None:
    """The message names the fact; exit code 5."""
    draw = np.random.default_rng(0)
    other = {"g/a": measured("g/a", drawn(draw), **{fact: value})}
    with pytest.raises(NothingMeasured, match=f"{fact} .* -> {value}") as caught:
        compare(run(a=1), other)
    assert caught.value.exit_code == 5


def test_nothing_in_common_is_not_comparable() -> None:
    """The control alone is nothing."""
    draw = np.random.default_rng(0)
    control = {"control": measured("control", drawn(draw))}
    with pytest.raises(NothingMeasured, match="no scenario in common"):
        compare({**run(a=1), **control}, {**run(b=1), **control})


def test_what_only_one_run_has_is_listed() -> None:
    """So that a renamed scenario is noticed; changed versions are mentioned, too."""
    draw = np.random.default_rng(0)
    new = {"g/a": measured("g/a", drawn(draw), torch="3.0"), "g/z": measured("g/z", drawn(draw))}
    found = compare(run(a=1, b=1), new)
    assert (found.only_old, found.only_new) == (("g/b",), ("g/z",))
    assert found.changes == ("torch unset -> 3.0",)


def test_the_document_is_strict_json() -> None:
    """With a schema version, verdicts as words, and null where nothing is known."""
    found = compare({"g/a": measured("g/a", [[1.0]])}, {"g/a": measured("g/a", [[1.0]])})
    document = json.loads(json.dumps(found.to_document(), allow_nan=False))
    assert document["schema_version"] == 1
    assert document["rows"][0]["verdict"] == "inconclusive"
    assert document["rows"][0]["low"] is None
