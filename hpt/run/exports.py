"""Extra formats of a run's steps, forks and decisions, fed by the same records as its own files: CSV and TensorBoard.

`steps.jsonl` and `events.jsonl` stay the source: an export of a resumed run is rebuilt from them (CSV) or purged from
the resumed call on (TensorBoard), so neither misses or repeats a call.
"""

import csv
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from hpt.errors import PrerequisiteError
from hpt.jsonfiles import disk_errors, read_lines
from hpt.jump.policy import POLICIES
from hpt.records import DecisionRecord, ForkRecord, JumpRecord, Record, Sink, StepRecord
from hpt.run.folder import RunFolder

SCALARS = ("loss", "predicted_loss", "confidence", "grad_norm", "lr")
BY_POLICY = ("means", "sds")
"""Fields of a decision that have a value for each policy."""


@contextmanager
def open_exports(names: tuple[str, ...], folder: RunFolder, call: int) -> Generator[list[Sink]]:
    """The sinks of the named exports, continued after `call` calls, closed at the end.

    Raises:
        PrerequisiteError: what an export needs is not installed.
        DiskError: its files cannot be written.
    """
    with ExitStack() as stack:
        sinks: list[Sink] = []
        if "csv" in names:
            sinks.append(stack.enter_context(_csv(folder)))
        if "tensorboard" in names:
            sinks.append(stack.enter_context(_tensorboard(folder, call)))
        yield sinks


@contextmanager
def _csv(folder: RunFolder) -> Generator[Sink]:
    """Tables in `OUT`, a row a record: steps.csv (one a call), forks.csv, decisions.csv."""
    sources = {StepRecord: folder.steps_file, ForkRecord: folder.events_file, DecisionRecord: folder.events_file}
    with ExitStack() as stack:
        sinks: dict[type[Record], Sink] = {
            kind: stack.enter_context(_csv_table(folder.path / f"{kind.kind}s.csv", kind, source))
            for kind, source in sources.items()
        }

        def sink(record: Record) -> None:
            write = sinks.get(type(record))
            if write is not None:
                write(record)

        yield sink


@contextmanager
def _csv_table(path: Path, kind: type[StepRecord | ForkRecord | DecisionRecord], stored: Path) -> Generator[Sink]:
    """Columns as in the record, those of `means` and `sds` by policy; what is not available is empty.

    Args:
        path: of the table.
        kind: of its records.
        stored: a log that holds the earlier ones, among others.
    """
    columns = [column for item in fields(kind) for column in _columns(item.name)]
    with disk_errors(path):
        file = path.open("w", newline="", buffering=1, encoding="utf-8")
        rows = csv.DictWriter(file, columns, extrasaction="ignore")
        rows.writeheader()
        rows.writerows(_flat(line) for line in read_lines(stored) if line.get("kind") == kind.kind)

    def sink(record: Record) -> None:
        with disk_errors(path):
            rows.writerow(_flat(asdict(record)))

    try:
        yield sink
    finally:
        with disk_errors(path):
            file.close()


def _columns(name: str) -> list[str]:
    """Of a record's field."""
    return [f"{name}_{policy}" for policy in POLICIES] if name in BY_POLICY else [name]


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """A record's values by column."""
    found = dict(values)
    for name in BY_POLICY:
        found |= {f"{name}_{policy}": value for policy, value in found.pop(name, {}).items()}
    return found


@contextmanager
def _tensorboard(folder: RunFolder, call: int) -> Generator[Sink]:
    """`OUT/tensorboard`: scalars, jumps, forks and decisions over calls; net steps repeat after a rollback."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise PrerequisiteError(
            f"--log tensorboard needs {error.name or 'tensorboard'}, which is not installed; "
            "install hybrid-predict-trainer[tensorboard] or leave it out"
        ) from error
    with disk_errors(folder.path):
        writer: Any = SummaryWriter(str(folder.path / "tensorboard"), purge_step=call + 1 if call else None)

    def sink(record: Record) -> None:
        nonlocal call
        values: dict[str, float | None] = {}
        if isinstance(record, StepRecord):
            call, values = record.call, {name: getattr(record, name) for name in SCALARS}
        elif isinstance(record, JumpRecord):
            values = {f"jump/{record.verdict}/norm_ratio": record.norm_ratio}
        elif isinstance(record, ForkRecord):
            values = {f"fork/{record.policy}/value": record.value}
        elif isinstance(record, DecisionRecord):
            values = {f"worth/{name}/mean": mean for name, mean in record.means.items()}
            values |= {f"worth/{name}/sd": sd for name, sd in record.sds.items()}
            writer.add_text("decision", record.why, call)
        for name, value in values.items():
            if value is not None:
                writer.add_scalar(name, value, call)

    try:
        yield sink
    finally:
        writer.close()
