"""Extra formats of a run's steps, fed by the same records as the run's own files: CSV and TensorBoard.

`steps.jsonl` stays the source: an export of a resumed run is rebuilt from it (CSV) or purged from the
resumed call on (TensorBoard), so neither misses or repeats a call.
"""

import csv
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields
from typing import Any, Self

from hpt.errors import PrerequisiteError
from hpt.jsonfiles import disk_errors, read_lines
from hpt.records import ForkRecord, JumpRecord, Record, Sink, StepRecord
from hpt.run.folder import RunFolder

SCALARS = ("loss", "predicted_loss", "confidence", "grad_norm", "lr")


class CsvExport:
    """`OUT/steps.csv`: one row a call, columns as in `StepRecord`; what is not available is empty.

    Raises:
        DiskError: the file cannot be written.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.path / "steps.csv"
        columns = [item.name for item in fields(StepRecord)]
        with disk_errors(self._path):
            self._file = self._path.open("w", newline="", buffering=1, encoding="utf-8")
            self._writer = csv.DictWriter(self._file, columns, extrasaction="ignore")
            self._writer.writeheader()
            self._writer.writerows(read_lines(folder.steps_file))

    def __call__(self, record: Record) -> None:
        """Write the row of a call."""
        if isinstance(record, StepRecord):
            with disk_errors(self._path):
                self._writer.writerow(asdict(record))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with disk_errors(self._path):
            self._file.close()


class TensorBoardExport:
    """`OUT/tensorboard`: scalars, jumps and forks over calls; net steps repeat after a rollback.

    Raises:
        PrerequisiteError: TensorBoard is not installed.
    """

    def __init__(self, folder: RunFolder, call: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra, and slow to import
        except ImportError as error:
            raise PrerequisiteError(
                f"--log tensorboard needs {error.name or 'tensorboard'}, which is not installed; "
                "install hybrid-predict-trainer[tensorboard] or leave it out"
            ) from error
        purge = call + 1 if call else None
        self._call = call
        with disk_errors(folder.path):
            self._writer: Any = SummaryWriter(str(folder.path / "tensorboard"), purge_step=purge)

    def __call__(self, record: Record) -> None:
        """Write the scalars of a call, the size of a jump or the value of a fork."""
        if isinstance(record, StepRecord):
            self._call = record.call
            for name in SCALARS:
                self._add(name, getattr(record, name))
        elif isinstance(record, JumpRecord):
            self._add(f"jump/{record.verdict}/norm_ratio", record.norm_ratio)
        elif isinstance(record, ForkRecord):
            self._add("fork/value", record.value)

    def _add(self, name: str, value: float | None) -> None:
        if value is not None:
            self._writer.add_scalar(name, value, self._call)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()


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
            sinks.append(stack.enter_context(CsvExport(folder)))
        if "tensorboard" in names:
            sinks.append(stack.enter_context(TensorBoardExport(folder, call)))
        yield sinks
