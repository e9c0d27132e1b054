"""Which checkpoint a run goes on from: the newest whose calls are all in the log.

After a power failure the log may end before the checkpoint does, because a line is not synced to the disk
and a checkpoint is; going back one checkpoint redoes those calls, and no line is missing. A broken
checkpoint is never skipped silently: it is refused, naming the good one before it.
"""

from collections.abc import Callable
from pathlib import Path

from hpt.errors import CheckpointError
from hpt.jsonfiles import read_lines
from hpt.run.folder import RunFolder
from hpt.trainer.checkpoint_file import CheckpointFolder, read_checkpoint
from hpt.trainer.hybrid import HybridTrainer


def restore(build: Callable[[], HybridTrainer], folder: RunFolder, wanted: Path | None = None) -> HybridTrainer:
    """A trainer that continues the run in `folder`; a new one where no checkpoint was written yet.

    Args:
        build: makes the trainer as it was at the start.
        folder: the run's.
        wanted: one particular checkpoint, instead of the newest.

    Raises:
        CheckpointError: the checkpoint is broken or is of another run.
    """
    logged = sum(1 for _ in read_lines(folder.steps_file))
    for path in [wanted] if wanted is not None else newest_first(folder):
        trainer = build()
        _load(trainer, path, folder)
        if trainer.num_calls <= logged:
            return trainer
    if wanted is not None:
        raise CheckpointError(
            f"{folder.steps_file} has {logged} whole lines, which is fewer than the calls before {wanted}; "
            f"use an earlier checkpoint: hpt train --resume {folder.path}"
        )
    return build()


def newest_first(folder: RunFolder) -> list[Path]:
    """Files of a run's checkpoints, the newest first."""
    checkpoints = CheckpointFolder(folder.checkpoints, keep=1)
    return [checkpoints.path_for(step) for step in reversed(checkpoints.steps())]


def _load(trainer: HybridTrainer, path: Path, folder: RunFolder) -> None:
    try:
        trainer.load(path)
    except CheckpointError as error:
        if _is_readable(path):  # the file is good, but of another model or setting
            raise
        good = next((one for one in newest_first(folder) if _is_readable(one)), None)
        go_on = f"to go on from a good one: hpt train --resume {good}"
        start_over = f"no other one is good; to start the run over, delete {folder.checkpoints}"
        raise CheckpointError(f"{error}; {go_on if good else start_over}") from error


def _is_readable(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except CheckpointError:
        return False
    return True
