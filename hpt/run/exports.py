"""Extra formats of a run's steps, fed by the same records as the run's own files: CSV and TensorBoard.

`steps.jsonl` stays the source: an export of a resumed run is rebuilt from it (CSV) or purged from the
resumed call on (TensorBoard), so neither misses or repeats a call.
"""

import csv
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields
from typing import Any

from hpt.errors import PrerequisiteError
from hpt.jsonfiles import disk_errors, read_lines
from hpt.records import ForkRecord, JumpRecord, Record, Sink, StepRecord
from hpt.run.folder import RunFolder

SCALARS = ("loss", "predicted_loss", "confidence", "grad_norm", "lr")


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
    """`OUT/steps.csv`: one row a call, columns as in `StepRecord`; what is not available is empty."""
    path = folder.path / "steps.csv"
    columns = [item.name for item in fields(StepRecord)]
    with disk_errors(path):
        file = path.open("w", newline="", buffering=1, encoding="utf-8")
        rows = csv.DictWriter(file, columns, extrasaction="ignore")
        rows.writeheader()
        rows.writerows(read_lines(folder.steps_file))

    def sink(record: Record) -> None:
        if isinstance(record, StepRecord):
            with disk_errors(path):
                rows.writerow(asdict(record))

    try:
        yield sink
    finally:
        with disk_errors(path):
            file.close()


@contextmanager
def _tensorboard(folder: RunFolder, call: int) -> Generator[Sink]:
    """`OUT/tensorboard`: scalars, jumps and forks over calls; net steps repeat after a rollback."""
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
            values = {"fork/value": record.value}
        for name, value in values.items():
            if value is not None:
                writer.add_scalar(name, value, call)

    try:
        yield sink
    finally:
        writer.close()
