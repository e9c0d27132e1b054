"""The folder of a benchmark run, complete after every scenario.

    bench.json       everything measured so far, one pyperf file, the control included
    bench.csv        one line a scenario
    machine.json     settings, machine, versions, commit, what failed and why
    scenarios/       one pyperf file for each finished scenario
    errors/          what the processes of a failed scenario wrote

A scenario is finished when its file is there, so that a later call with the same folder does what is left.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired

import pyperf
from typing_extensions import TypedDict

from hpt.bench.measurement import CONTROL, Measurement, control_of, measurement_of, publishable, read_suite, write_suite
from hpt.bench.plan import BenchSettings, facts_inside, machine_record
from hpt.bench.summary import summarise, to_csv
from hpt.documents import Version1, read_document
from hpt.errors import UsageError
from hpt.jsonfiles import disk_errors, make_folder, write_json, write_text
from hpt.machine import utc_now
from hpt.run.ownership import claim

SCHEMA_VERSION = 1
MACHINE_FILE = "machine.json"
_SAME_CODE = ("commit",)  # not whether the tree is changed: results written into it change it


class _Stored(TypedDict):
    schema_version: Version1
    settings: dict[str, Any]
    machine: dict[str, Any]
    started_at: NotRequired[str]


class BenchFolder:
    """Files of one benchmark run.

    Args:
        path: the folder; it need not exist yet.
        settings: of this call.

    Raises:
        UsageError: the place is taken by a file, holds something else, or a run of other settings, commit or machine.
        DiskError: it cannot be written.
    """

    def __init__(self, path: Path, settings: BenchSettings) -> None:
        self.path, self.settings = path, settings
        self.suite_file, self.csv_file = path / "bench.json", path / "bench.csv"
        self.machine_file = path / MACHINE_FILE
        self.machine = machine_record(settings)
        self.failures: dict[str, str] = {}
        claim(path, "benchmark", MACHINE_FILE)
        make_folder(path)
        before = self._before()
        self._started_at = before.get("started_at", utc_now())
        with disk_errors(path):
            for name in ("scenarios", "errors"):
                (path / name).mkdir(exist_ok=True)

    def _before(self) -> Mapping[str, Any]:
        """The record of earlier calls; empty if this is the first."""
        if not self.machine_file.exists():
            return {}
        document = read_document(self.machine_file, _Stored)
        settings, machine = document["settings"], document["machine"]
        self._refuse_others("settings", settings, self.settings.to_document())
        names = ("cpu_model", "num_cores", "python", "torch", "numpy", *_SAME_CODE)
        self._refuse_others("machine and code", machine, {name: self.machine[name] for name in names})
        return document

    def _refuse_others(self, what: str, stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        for name, value in now.items():
            if stored.get(name) != value:
                raise UsageError(
                    f"--out is {self.path}, whose {what} say {name} {stored.get(name)}, now it is {value}; "
                    "results of both do not belong together: choose another --out"
                )

    def raw_file(self, name: str) -> Path:
        """Where pyperf's manager leaves its result: nothing is there yet, and no other process writes there."""
        path = self.path / "scenarios" / f".{_file_name(name)}.{os.getpid()}.raw.json"
        path.unlink(missing_ok=True)
        return path

    def _scenario_file(self, name: str) -> Path:
        return self.path / "scenarios" / f"{_file_name(name)}.json"

    def finished(self, name: str) -> pyperf.Benchmark | None:
        """The stored benchmark of a scenario; None if it was not measured yet."""
        path = self._scenario_file(name)
        return read_suite(path).get_benchmark(name) if path.exists() else None

    def keep(self, name: str, raw: Path) -> None:
        """Take in the result of pyperf's manager."""
        facts = facts_inside(self.machine, self.settings)
        write_suite(self._scenario_file(name), [publishable(read_suite(raw).get_benchmark(name), facts)])
        raw.unlink()
        self._error_file(name).unlink(missing_ok=True)

    def fail(self, name: str, message: str, details: str) -> None:
        """Take note of a failure."""
        self.failures[name] = message
        if details:
            write_text(self._error_file(name), details)

    def _error_file(self, name: str) -> Path:
        return self.path / "errors" / f"{_file_name(name)}.txt"

    def measurements(self, names: list[str]) -> list[Measurement]:
        """Of the scenarios among `names` that are finished, in that order."""
        found = (self.finished(name) for name in names)
        return [measurement_of(one) for one in found if one is not None]

    def store(self) -> None:
        """Bring the three files that stand for the whole up to date.

        Raises:
            DiskError: the disk is full.
        """
        paths = sorted((self.path / "scenarios").glob("[!.]*.json"), key=_by_number)
        benchmarks = [one for path in paths for one in read_suite(path).get_benchmarks()]
        if benchmarks:
            the_control = control_of(benchmarks)
            write_suite(self.suite_file, [*benchmarks, *([] if the_control is None else [the_control])])
            write_text(self.csv_file, to_csv([summarise(measurement_of(one)) for one in benchmarks]))
        write_json(
            self.machine_file,
            {
                "schema_version": SCHEMA_VERSION,
                "settings": self.settings.to_document(),
                "machine": self.machine,
                "started_at": self._started_at,
                "written_at": utc_now(),
                "finished": [one.get_name() for one in benchmarks if one.get_name() != CONTROL],
                "failed": self.failures,
            },
        )


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", ".", name)


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sorts horizon_5 before horizon_10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", path.stem)]
