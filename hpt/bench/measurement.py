"""Measurements as stored: pyperf's own files, less what tells of the person, plus the facts of the machine.

A baseline is a run stored by name: a copy of its pyperf file, which carries all that a comparison needs.

The timing of a scenario is a pyperf benchmark with one run a worker process. The control that every worker timed before
its scenario becomes a benchmark of its own, `control`, spread over the whole session.
"""

import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NotRequired

import pyperf
from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from hpt.documents import FOREIGN, DocumentError, NotNegative, Seconds, Size, Version1, fit, open_ended, read_bytes
from hpt.errors import UsageError
from hpt.jsonfiles import disk_errors, write_text

SCHEMA = 1
"""Of the metadata that begin with hpt_."""
Metadata = Mapping[str, str | int | float]
_PRIVATE = ("hostname", "python_executable", "python_config_args", "python_cflags", "boot_time", "uptime")
_CONTROL = "hpt_control_s"
CONTROL = "control"
"""Name of what every worker timed before its scenario, see `hpt.bench.worker`."""
BASELINES = Path("runs") / "baselines"
_REMEDY = "name the folder or the bench.json of a run, or measure again"
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Measurement:
    """The timing of one scenario.

    Attributes:
        name: GROUP/NAME.
        processes: seconds of the values of each worker process; processes that only calibrated are left out.
        controls: seconds of the control in the same processes, None where it was not measured.
        shortest_raw_s: of the intervals that were really timed.
        warm_up_s: least time that a process spent in warm-ups.
        metadata: what all processes have in common.
    """

    name: str
    processes: tuple[tuple[float, ...], ...]
    controls: tuple[float | None, ...]
    shortest_raw_s: float
    warm_up_s: float
    metadata: Metadata

    @property
    def values(self) -> list[float]:
        """All values, seconds."""
        return [value for process in self.processes for value in process]


def publishable(benchmark: pyperf.Benchmark, facts: Mapping[str, Any]) -> pyperf.Benchmark:
    """The same benchmark without names and paths of this computer, and with `facts` as hpt_ metadata."""
    added = {f"hpt_{name}": _scalar(value) for name, value in facts.items() if value not in (None, "")}
    runs: list[pyperf.Run] = []
    for run in benchmark.get_runs():
        kept = {name: value for name, value in run.get_metadata().items() if name not in _PRIVATE}
        metadata = {**kept, "hpt_schema": SCHEMA, **added}
        runs.append(pyperf.Run(run.values, warmups=run.warmups, metadata=metadata, collect_metadata=False))
    return pyperf.Benchmark(runs)


def _scalar(value: Any) -> str | int | float:
    return int(value) if isinstance(value, bool) else value


def control_of(benchmarks: Iterable[pyperf.Benchmark]) -> pyperf.Benchmark | None:
    """The controls of all processes, as a benchmark; None if none was measured."""
    runs: list[pyperf.Run] = []
    for benchmark in benchmarks:
        for run in benchmark.get_runs():
            metadata = run.get_metadata()
            if run.values and _CONTROL in metadata:
                kept = {name: value for name, value in metadata.items() if not name.startswith("hpt_per_unit_")}
                kept |= {"name": CONTROL, "loops": 1, "hpt_unit": "round", "hpt_num_units": 1}
                kept.pop("inner_loops", None)
                runs.append(pyperf.Run([metadata[_CONTROL]], metadata=kept, collect_metadata=False))
    return pyperf.Benchmark(runs) if runs else None


def write_suite(path: Path, benchmarks: Iterable[pyperf.Benchmark]) -> None:
    """Replace a pyperf file as a whole.

    Raises:
        DiskError: the disk is full, or the place cannot be written.
    """
    text = io.StringIO()
    pyperf.BenchmarkSuite(list(benchmarks)).dump(text)
    write_text(path, text.getvalue())


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is not None:
        raise ValueError("it must be a moment without a time zone")
    return text


def _scalars(facts: dict[str, Any]) -> dict[str, Any]:
    """As pyperf would have them; it looks at some only when it is too late."""
    for name, value in facts.items():
        is_tags = name == "tags" and isinstance(value, list)
        if not is_tags and (isinstance(value, bool) or not isinstance(value, (str, int, float))):
            raise ValueError(f"{name} is neither text nor a number")
    return facts


@open_ended
class _Facts(TypedDict, total=False):
    """What the metadata of a file, a benchmark or a run may say, others besides."""

    name: str
    loops: Size
    inner_loops: Size
    date: Annotated[str, AfterValidator(_moment)]
    duration: Annotated[float, Field(ge=0, le=1e9)]
    hpt_schema: Version1
    hpt_preset: str
    hpt_mode: str
    hpt_threads: Size
    hpt_unit: str
    hpt_num_units: Size
    hpt_commit: str
    hpt_control_s: Seconds


_AnyFacts = Annotated[_Facts, AfterValidator(_scalars)]


class _Run(TypedDict):
    metadata: NotRequired[_AnyFacts]
    values: NotRequired[list[Seconds]]
    warmups: NotRequired[list[tuple[Size, NotNegative]] | None]


class _Benchmark(TypedDict):
    metadata: NotRequired[_AnyFacts]
    runs: Annotated[list[_Run], Field(min_length=1)]


class _Suite(TypedDict):
    """pyperf's own format."""

    version: str
    metadata: NotRequired[_AnyFacts]
    benchmarks: Annotated[list[_Benchmark], Field(min_length=1)]


def read_suite(path: Path) -> pyperf.BenchmarkSuite:
    """A pyperf file.

    Raises:
        DocumentError: it cannot be read, is damaged, or is something else.
    """
    return parse_suite(read_bytes(path, remedy=_REMEDY, may_wait=True), path)


def parse_suite(content: bytes, path: Path) -> pyperf.BenchmarkSuite:
    """The same for content that was read already.

    Raises:
        DocumentError: it is damaged, or something else.
    """
    fit(content, _Suite, path, remedy=_REMEDY)
    try:
        suite = pyperf.BenchmarkSuite.loads(content.decode())
        suite.get_dates()
    except Exception as error:
        raise DocumentError(path, f"pyperf cannot read it ({type(error).__name__}: {error})", remedy=_REMEDY) from error
    return suite


def read_measurements(path: Path) -> dict[str, Measurement]:
    """The measurements in a file of `hpt bench` by scenario, the control included.

    Raises:
        DocumentError: it cannot be read, or was written by something else.
    """
    return measurements_in(read_suite(path), path)


def measurements_in(suite: pyperf.BenchmarkSuite, path: Path) -> dict[str, Measurement]:
    """The same for what was read already.

    Raises:
        DocumentError: something else wrote it, or a scenario in it has no values.
    """
    for benchmark in suite.get_benchmarks():
        name = benchmark.get_name()
        if "hpt_schema" not in benchmark.get_metadata():
            reason = f"{name} has no hpt_schema, so it is a pyperf file that hpt bench did not write"
            raise DocumentError(path, reason, FOREIGN, "use pyperf compare_to for such files")
        if not any(run.values for run in benchmark.get_runs()):
            raise DocumentError(path, f"{name} has no values in any of its runs", remedy=_REMEDY)
    return {benchmark.get_name(): measurement_of(benchmark) for benchmark in suite.get_benchmarks()}


def measurement_of(benchmark: pyperf.Benchmark) -> Measurement:
    """The values of a benchmark by process."""
    runs = [run for run in benchmark.get_runs() if run.values]
    controls = [run.get_metadata().get(_CONTROL) for run in runs]
    return Measurement(
        name=benchmark.get_name(),
        processes=tuple(tuple(float(value) for value in run.values) for run in runs),
        controls=tuple(None if value is None else float(value) for value in controls),
        shortest_raw_s=min(value * run.get_total_loops() for run in runs for value in run.values),
        warm_up_s=min(sum(loops * value * run.get_inner_loops() for loops, value in run.warmups) for run in runs),
        metadata=benchmark.get_metadata(),
    )


def save_baseline(name: str, suite_file: Path) -> Path:
    """Keep a run under a name, in place of what had it before; returns the file.

    Raises:
        UsageError: the name cannot be a file's, or the run cannot be read.
        DiskError: it cannot be written.
    """
    path = baseline_file(name)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_suite(path, read_suite(suite_file).get_benchmarks())
    return path


def baseline_file(name: str) -> Path:
    """Where a baseline of that name is, or will be.

    Raises:
        UsageError: it cannot be a file's.
    """
    if not _NAME.fullmatch(name) or name.startswith("."):
        raise UsageError(f"baseline is {name!r}; a name has letters, digits, '_', '.', '-' only")
    return BASELINES / f"{name}.json"


def load_baseline(name: str) -> dict[str, Measurement]:
    """The measurements of a baseline.

    Raises:
        UsageError: there is none of that name, or it cannot be read.
    """
    path = baseline_file(name)
    if not path.exists():
        known = ", ".join(sorted(one.stem for one in BASELINES.glob("*.json"))) or "none"
        raise UsageError(
            f"baseline {name!r} is not in {BASELINES} (there: {known}); make it with --save-baseline {name}"
        )
    return read_measurements(path)


def load_run(word: str) -> dict[str, Measurement]:
    """The measurements of a run: its folder, a pyperf file, or the name of a baseline.

    Raises:
        UsageError: nothing of that name can be read.
    """
    path = Path(word)
    if path.is_dir():
        return read_measurements(path / "bench.json")
    if path.exists() or "/" in word or path.suffix == ".json":
        return read_measurements(path)
    return load_baseline(word)
