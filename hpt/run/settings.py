"""What one `hpt train` is asked to do: flags over config file; what a resumed run may change.

Nothing here imports torch, so that a wrong flag is refused at once.
"""

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from hpt.config import HybridConfig
from hpt.errors import ConfigError, UsageError
from hpt.optimizers.catalogue import OWN, why_no_jumps

DEFAULT_WORKLOAD = "byte-gpt"
DTYPES = {"fp32": "none", "bf16": "bf16", "fp16": "fp16"}  # flag -> precision.autocast
FIXED_ON_RESUME = ("workload", "predictor", "optimizer", "steps", "seed", "config", "data", "dtype")
EXPORTS = ("csv", "tensorboard")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """The flags of `hpt train`; None where one was not given.

    Attributes:
        workload: name or package.module:factory.
        predictor: what proposes jumps.
        optimizer: name of the catalogue, package.module:factory, or `OWN`.
        steps: net optimizer updates.
        seed: of weights, batches and trainer.
        config: TOML file of trainer settings, absolute.
        data: the user's text file or folder, absolute.
        device: cpu, cuda, cuda:1, ...
        dtype: fp32, bf16 or fp16.
        threads: torch's threads.
        log: exports besides the run's own files.
    """

    workload: str | None = None
    predictor: str | None = None
    optimizer: str | None = None
    steps: int | None = None
    seed: int | None = None
    config: str | None = None
    data: str | None = None
    device: str | None = None
    dtype: str | None = None
    threads: int | None = None
    log: tuple[str, ...] | None = None

    @classmethod
    def of_flags(cls, flags: Mapping[str, Any]) -> Self:
        """From click's values; paths become absolute, so that a run can be resumed from anywhere."""
        values = {item.name: flags[item.name] for item in dataclasses.fields(cls)}
        for name in ("config", "data"):
            values[name] = None if values[name] is None else str(Path(values[name]).resolve())
        values["log"] = parse_exports(values["log"])
        return cls(**values)

    @classmethod
    def of_stored(cls, stored: Mapping[str, Any]) -> Self:
        """From the settings in a run's record; those that name no optimizer are of runs with the workload's own."""
        known = {item.name for item in dataclasses.fields(cls)}
        values: dict[str, Any] = {key: value for key, value in stored.items() if key in known}
        values["log"] = tuple(values.get("log") or ())
        values["optimizer"] = values.get("optimizer") or OWN
        return cls(**values)

    def resumed_with(self, flags: Self, folder: Path, *, is_done: bool = False) -> Self:
        """These settings, continued with what the flags may change: device, threads and exports; steps once it is done.

        Raises:
            UsageError: a flag would make it another run, or a shorter one.
        """
        given = {key: value for key, value in asdict(flags).items() if value is not None}
        for name in FIXED_ON_RESUME:
            before = getattr(self, name)
            if name not in given or given[name] == before:
                continue
            if name != "steps" or not is_done:
                raise UsageError(
                    f"--{name} is {given[name]}, but the run in {folder} was begun with {before}; "
                    f"leave --{name} out, or begin another run with another --out"
                )
            if given[name] < before:
                raise UsageError(f"--steps is {given[name]}, but the run in {folder} has made {before}; name more")
        return dataclasses.replace(self, **given)


def parse_exports(text: str | None) -> tuple[str, ...] | None:
    """Names of exports from a comma-separated list.

    Raises:
        UsageError: an export is unknown.
    """
    if text is None:
        return None
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [name for name in names if name not in EXPORTS]
    if unknown:
        raise UsageError(f"--log names {unknown[0]!r}, which is no export; choose from {', '.join(EXPORTS)}")
    return names


def merge_config(flags: TrainSettings) -> dict[str, Any]:
    """Nested dictionary of trainer settings: the file's, then the flags'.

    Raises:
        ConfigError: the file is missing, is not TOML, or a setting is unknown or out of range.
    """
    values: dict[str, Any] = {}
    if flags.config is not None:
        HybridConfig.from_toml(flags.config)  # its refusals name the file
        values = tomllib.loads(Path(flags.config).read_text(encoding="utf-8"))
    for key, value in (("predictor", flags.predictor), ("seed", flags.seed), ("total_steps", flags.steps)):
        if value is not None:
            values[key] = value
    if flags.dtype is not None:
        values["precision"] = {**values.get("precision", {}), "autocast": DTYPES[flags.dtype]}
    if values.get("checkpoint", {}).get("dir") is not None:
        raise ConfigError(f"checkpoint.dir is set in {flags.config}, but hpt train uses OUT/checkpoints; remove it")
    HybridConfig.from_dict(values)
    return values


def complete_config(
    values: Mapping[str, Any], *, steps: int, clip_norm: float | None, checkpoints: Path
) -> HybridConfig:
    """The trainer's settings, with what only the workload and the folder can tell filled in.

    `clip_norm` is the workload's; a limit in `values` beats it.
    """
    update = {"clip_norm": clip_norm, **values.get("update", {})}
    checkpoint = {**values.get("checkpoint", {}), "dir": str(checkpoints)}
    return HybridConfig.from_dict({**values, "total_steps": steps, "update": update, "checkpoint": checkpoint})


def check_optimizer(name: str, predictor: str) -> None:
    """Refuse an optimizer that is unknown or absent, or on which the predictor's jumps make no sense.

    Raises:
        UsageError: one of these.
        PrerequisiteError: its package is not installed.
    """
    reason = why_no_jumps(name)
    if reason and predictor != "none":
        raise UsageError(
            f"optimizer is {name} and predictor {predictor}, but {reason}; use --predictor none, or another --optimizer"
        )


def default_folder(workload: str, predictor: str, seed: int, optimizer: str = OWN) -> Path:
    """Where a run goes when nobody says: runs/<workload>-<predictor>-s<seed>, with the optimizer if one is named.

    Characters that a folder's name should not have, as in a factory's import path, become hyphens.
    """
    parts = [workload, predictor, *([] if optimizer == OWN else [optimizer]), f"s{seed}"]
    return Path("runs") / re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(parts))
