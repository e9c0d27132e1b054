"""Which checkpoint a run goes on from: the newest whose calls are all in the log.

After a power failure the log may end before the checkpoint does, because a line is not synced to the disk
and a checkpoint is; going back one checkpoint redoes those calls, and no line is missing, and it is said. All else
that is missing, damaged or of another run is refused, naming it: a run never begins anew in silence.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpt.config import HybridConfig
from hpt.errors import CheckpointError
from hpt.jsonfiles import read_lines
from hpt.run.folder import RunFolder
from hpt.run.launch import resume_line
from hpt.run.record import DONE, INTERRUPTED, RunRecord
from hpt.trainer.checkpoint_file import CheckpointFolder, read_checkpoint
from hpt.trainer.hybrid import HybridTrainer


@dataclass(frozen=True, slots=True)
class Restored:
    """A trainer that continues a run, and what there is to say about the place it continues from."""

    trainer: HybridTrainer
    remark: str | None = None


def restore(
    build: Callable[[], HybridTrainer], folder: RunFolder, before: RunRecord, wanted: Path | None = None
) -> Restored:
    """A trainer that continues the run in `folder`; a new one where no checkpoint was written yet.

    Args:
        build: makes the trainer as it was at the start.
        folder: the run's.
        before: the run's record so far.
        wanted: one particular checkpoint, instead of the newest.

    Raises:
        CheckpointError: a checkpoint or a log is missing, damaged or of another run.
    """
    logged = _logged_calls(folder)
    newest = newest_first(folder)
    if not newest and wanted is None:
        _refuse_lost(folder, before)
        return Restored(build(), None if logged == 0 else f"no checkpoint was written; all {logged} calls are redone")
    for path in newest if wanted is None else [wanted]:
        trainer = build()
        _load(trainer, path, folder, before)
        if trainer.num_calls <= logged:
            behind = wanted is None and path != newest[0]
            return Restored(trainer, f"the log ends at call {logged}, so {path} is taken" if behind else None)
    remedy = (
        "restore that file"
        if wanted is None
        else f"use an earlier checkpoint: {resume_line(before.environment, folder.path)}"
    )
    raise CheckpointError(
        f"{folder.steps_file} has {logged} whole lines, which is fewer than the calls before {wanted or newest[-1]}; "
        f"{remedy}, or begin a new run with another --out"
    )


def _logged_calls(folder: RunFolder) -> int:
    """Calls in the log.

    Raises:
        CheckpointError: one of the two logs is missing beside the other, or damaged before its last line.
    """
    logs = (folder.steps_file, folder.events_file)
    missing = [path for path in logs if not path.exists()]
    if len(missing) == 1:
        raise CheckpointError(f"{missing[0]} is missing; restore it, or begin a new run with another --out")
    if missing:
        return 0
    for path in logs:
        _refuse_damage(path, sum(1 for _ in read_lines(path)))
    in_order = 0
    for line in read_lines(folder.steps_file):
        if line.get("call") != in_order + 1:
            break
        in_order += 1
    _refuse_damage(folder.steps_file, in_order)
    return in_order


def _refuse_damage(path: Path, num_whole: int) -> None:
    """A last line may be torn, by a kill; a line before it may not."""
    with path.open("rb") as file:
        num_lines = sum(1 for _ in file)
    if num_lines > num_whole + 1:
        raise CheckpointError(
            f"{path} is damaged at line {num_whole + 1} of {num_lines}; "
            "restore it, or begin a new run with another --out"
        )


def _refuse_lost(folder: RunFolder, before: RunRecord) -> None:
    """Refuse to begin again where a checkpoint must have been written, and is not there.

    Raises:
        CheckpointError: the run ended, was stopped with a save, or went beyond more saves than failed.
    """
    steps = [int(line["step"]) for line in read_lines(folder.steps_file)]
    failed = sum(line.get("name") == "checkpoint_failed" for line in read_lines(folder.events_file))
    interval = HybridConfig.from_dict(before.config).checkpoint.save_interval
    is_saved = before.status in (DONE, INTERRUPTED) and before.message is None
    if is_saved or (max(steps, default=0) - 1) // interval > failed:
        raise CheckpointError(
            f"{folder.checkpoints} holds no checkpoint, but the run has made {max(steps, default=0)} updates; "
            "restore that folder, or begin a new run with another --out"
        )


def newest_first(folder: RunFolder) -> list[Path]:
    """Files of a run's checkpoints, the newest first."""
    checkpoints = CheckpointFolder(folder.checkpoints, keep=1)
    return [checkpoints.path_for(step) for step in reversed(checkpoints.steps())]


def _load(trainer: HybridTrainer, path: Path, folder: RunFolder, before: RunRecord) -> None:
    try:
        _refuse_others(trainer.config, read_checkpoint(path), path)
        trainer.load(path)
    except CheckpointError as error:
        if _is_readable(path):  # the file is good, but of another model or setting
            raise
        good = next((one for one in newest_first(folder) if _is_readable(one)), None)
        if good is None:
            raise CheckpointError(
                f"{error}; no other one is good; to start the run over, delete {folder.path}"
            ) from error
        raise CheckpointError(f"{error}; to go on from a good one: {resume_line(before.environment, good)}") from error


def _refuse_others(config: HybridConfig, state: Mapping[str, Any], path: Path) -> None:
    """Refuse a checkpoint of other settings, the seed among them; only the length may have grown."""
    now, then = _compared(config.to_dict()), _compared(state.get("config", {}))
    for name, value in then.items():
        if now.get(name) != value:
            raise CheckpointError(
                f"{path} was made with {name} {value}, run.json says {now.get(name)}; "
                "restore the run's own, or begin a new run with another --out"
            )


def _compared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted name, as JSON spells them, without those that do not change what a run computes."""
    flat: dict[str, Any] = {}
    for name, value in json.loads(json.dumps(settings)).items():
        inner = value if isinstance(value, dict) else {"": value}
        flat |= {f"{name}.{key}".rstrip("."): one for key, one in inner.items()}
    return {name: value for name, value in flat.items() if name != "total_steps" and not name.startswith("checkpoint.")}


def _is_readable(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except CheckpointError:
        return False
    return True
