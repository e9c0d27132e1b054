"""Reading what was stored, and refusing what was not stored by this program."""

import json
from pathlib import Path

import pyperf
import pytest

from hpt.bench.measurement import control_of, measurement_of, publishable, read_measurements, write_suite
from hpt.errors import UsageError


def benchmark(**metadata: str | int | float) -> pyperf.Benchmark:
    facts = {"name": "g/a", "unit": "second", "loops": 4, "inner_loops": 2, "hostname": "me", **metadata}
    calibration = pyperf.Run([], warmups=[(4, 1.0)], metadata={**facts, "calibrate_loops": 4}, collect_metadata=False)
    runs = [
        pyperf.Run([base, base + 0.5], warmups=[(4, 2.0)], metadata=facts, collect_metadata=False)
        for base in (1.0, 2.0)
    ]
    return pyperf.Benchmark([calibration, *runs])


def test_values_come_by_process() -> None:
    """Calibration is left out; the timed interval is value x loops x inner loops."""
    found = measurement_of(benchmark(hpt_control_s=0.25))
    assert found.processes == ((1.0, 1.5), (2.0, 2.5))
    assert found.controls == (0.25, 0.25)
    assert found.shortest_raw_s == 1.0 * 4 * 2
    assert found.warm_up_s == 2.0 * 4 * 2
    assert measurement_of(benchmark()).controls == (None, None)


def test_publishing_drops_names_and_adds_facts() -> None:
    """What is unknown is left out, not written as 0; values and warm-ups stay."""
    found = publishable(benchmark(), {"commit": "abc", "governor": None, "is_dirty": True})
    assert found.get_values() == benchmark().get_values()
    assert [run.warmups for run in found.get_runs()] == [run.warmups for run in benchmark().get_runs()]
    metadata = found.get_metadata()
    assert metadata["hpt_commit"] == "abc"
    assert metadata["hpt_is_dirty"] == 1
    assert metadata["hpt_schema"] == 1
    assert not {"hostname", "hpt_governor"} & set(metadata)


def test_the_control_has_one_value_a_process() -> None:
    """Processes that calibrated count as little as in the scenario."""
    found = control_of([benchmark(hpt_control_s=0.25), benchmark(hpt_control_s=0.5)])
    assert found is not None
    assert found.get_name() == "control"
    assert found.get_values() == (0.25, 0.25, 0.5, 0.5)
    assert control_of([benchmark()]) is None


def test_a_round_trip_keeps_everything(tmp_path: Path) -> None:
    """Written and read again."""
    stored = publishable(benchmark(hpt_control_s=0.25), {"preset": "default"})
    write_suite(tmp_path / "b.json", [stored])
    assert read_measurements(tmp_path / "b.json") == {"g/a": measurement_of(stored)}


FOREIGN = {
    "no such file": (None, "is not there"),
    "binary": (b"\xff\xfe\x00", "is not JSON"),
    "half a file": (b'{"version": "1.0", "benchm', "is not JSON"),
    "other JSON": (b'{"a": 1}', "version is missing"),
    "a list": (b"[1, 2]", "it must be an object"),
}


@pytest.mark.parametrize(("content", "word"), FOREIGN.values(), ids=FOREIGN)
def test_what_is_no_result_is_refused(tmp_path: Path, content: bytes | None, word: str) -> None:
    """One line, exit code 2, naming file and remedy."""
    path = tmp_path / "b.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=word) as caught:
        read_measurements(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_programs_pyperf_files_are_refused(tmp_path: Path) -> None:
    """They say nothing of machine and settings."""
    pyperf.BenchmarkSuite([benchmark()]).dump(str(tmp_path / "b.json"))
    with pytest.raises(UsageError, match="hpt bench did not write"):
        read_measurements(tmp_path / "b.json")


def test_newer_files_are_refused(tmp_path: Path) -> None:
    """Their fields may mean something else."""
    write_suite(tmp_path / "b.json", [publishable(benchmark(), {})])
    text = (tmp_path / "b.json").read_text().replace('"hpt_schema":1', '"hpt_schema":2')
    assert json.loads(text)
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(UsageError, match="hpt_schema is 2, this hpt reads up to 1"):
        read_measurements(tmp_path / "b.json")
