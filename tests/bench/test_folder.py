"""The folder of a run: readable by pyperf, complete after every scenario, and not to be mixed with another run."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from references.brief_run import NAME, NAMES, light, located, measure_all

from hpt.bench.folder import BenchFolder
from hpt.bench.measurement import read_measurements
from hpt.bench.plan import BenchSettings
from hpt.bench.scenario import Preset
from hpt.errors import DiskError, UsageError
from hpt.machine import cpu_model


@pytest.mark.parametrize("command", ["show", "stats", "hist", "check"])
def test_pyperf_reads_every_file(finished: Path, command: str) -> None:
    """Its own command line, on the whole and on a single scenario."""
    for path in (finished / "bench.json", finished / "scenarios" / "light.sort_1.json"):
        done = subprocess.run(
            [sys.executable, "-m", "pyperf", command, str(path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert command == "check" or "light/sort_1" in done.stdout or path.parent.name == "scenarios"


def test_the_whole_holds_every_scenario_and_the_control(finished: Path) -> None:
    """Under their names; the control has a value for every process that measured."""
    found = read_measurements(finished / "bench.json")
    assert list(found) == [*NAMES, "control"]
    assert len(found["control"].values) == sum(len(found[name].processes) for name in NAMES) == 6
    assert found["light/sort_4"].metadata["hpt_num_units"] == 4
    assert found["light/sort_4"].metadata["hpt_preset"] == "default"


def test_no_file_tells_of_the_person(finished: Path) -> None:
    """Host name, interpreter and paths stay at home."""
    import platform

    for path in finished.rglob("*.json"):
        text = path.read_text()
        assert sys.executable not in text
        assert str(Path.home()) not in text.replace(str(finished), "")
        assert f'"{platform.node()}"' not in text
        assert "hostname" not in text


def test_machine_record_and_table_lie_beside_it(finished: Path) -> None:
    """Processor, versions, commit and settings; a line a scenario."""
    document = json.loads((finished / "machine.json").read_text())
    assert document["schema_version"] == 1
    assert document["settings"] == {"mode": NAME, "preset": "default", "threads": 1, "affinity": None}
    assert document["machine"]["cpu_model"] == cpu_model()
    assert {"governor", "num_cores", "torch", "pyperf", "commit", "is_dirty"} <= set(document["machine"])
    assert document["finished"] == NAMES
    rows = list(csv.DictReader((finished / "bench.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == document["finished"]
    assert all(float(row["median_s"]) > 0 for row in rows)


def test_a_second_call_keeps_what_is_finished(finished: Path) -> None:
    """Nothing is measured again."""
    before = (finished / "scenarios" / "light.sort_1.json").read_bytes()
    outcome, seen = measure_all(BenchFolder(finished, BenchSettings(mode=NAME)), light())
    assert {state for _, state in seen} == {"kept"}
    assert len(outcome.rows) == 3
    assert (finished / "scenarios" / "light.sort_1.json").read_bytes() == before


def test_a_failure_is_kept_with_its_traceback_and_the_rest_goes_on(tmp_path: Path) -> None:
    """The unit that failed is named in the record, and its processes' last words are in a file."""
    outcome, seen = measure_all(BenchFolder(tmp_path, BenchSettings(mode=NAME)), [located("IDLE"), located("SORT")])
    assert [row.name for row in outcome.rows] == ["light/sort_1"]
    assert "self-check failed" in outcome.failures["light/idle"]
    assert ("light/sort_1", "finished") in seen
    assert "SelfCheckFailed" in (tmp_path / "errors" / "light.idle.txt").read_text()
    assert json.loads((tmp_path / "machine.json").read_text())["failed"] == outcome.failures


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        (BenchSettings(mode="rigorous"), "mode"),
        (BenchSettings(mode=NAME, preset=Preset.REFERENCE), "preset"),
        (BenchSettings(mode=NAME, threads=2), "threads"),
        (BenchSettings(mode=NAME, affinity="0"), "affinity"),
    ],
)
def test_other_settings_do_not_go_into_the_same_folder(finished: Path, settings: BenchSettings, word: str) -> None:
    """The message names the setting and the remedy."""
    with pytest.raises(UsageError, match=f"{word}.*choose another --out"):
        BenchFolder(finished, settings)


def test_another_commit_does_not_go_into_the_same_folder(finished: Path, tmp_path: Path) -> None:
    """Half of the results would be of other code."""
    document = json.loads((finished / "machine.json").read_text())
    document["machine"]["commit"] = "0" * 40
    (tmp_path / "machine.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match="commit"):
        BenchFolder(tmp_path, BenchSettings(mode=NAME))


def test_scenarios_are_stored_in_the_order_of_their_numbers(finished: Path, tmp_path: Path) -> None:
    """5 before 10, whatever the file system says."""
    folder = BenchFolder(tmp_path, BenchSettings(mode=NAME))
    for n in (10, 5, 1):
        text = (finished / "scenarios" / "light.sort_1.json").read_text().replace("light/sort_1", f"light/sort_{n}")
        (tmp_path / "scenarios" / f"light.sort_{n}.json").write_text(text)
    folder.store()
    assert list(read_measurements(folder.suite_file)) == ["light/sort_1", "light/sort_5", "light/sort_10", "control"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"settings": 3, "machine": 4}'])
def test_a_damaged_record_is_refused(tmp_path: Path, text: str) -> None:
    """Rather than overwritten."""
    (tmp_path / "machine.json").write_text(text)
    with pytest.raises(UsageError, match=r"machine\.json: .*restore it"):
        BenchFolder(tmp_path, BenchSettings(mode=NAME))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """`--out` that is a file, or lies below one."""
    (tmp_path / "taken").write_text("x")
    for path in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(UsageError, match="is a file"):
            BenchFolder(path, BenchSettings(mode=NAME))


def test_a_full_disk_is_said_and_ends_the_run(tmp_path: Path) -> None:
    """A worker that finds no space is no broken scenario: exit code 6, and what was finished stays."""
    folder = BenchFolder(tmp_path, BenchSettings(mode=NAME))
    with pytest.raises(DiskError, match="no space left") as caught:
        measure_all(folder, [located("SORT"), located("FULL_DISK"), located("IDLE")])
    assert caught.value.exit_code == 6
    assert list(read_measurements(tmp_path / "bench.json")) == ["light/sort_1", "control"]
    assert not list(tmp_path.rglob("*.raw.json"))
