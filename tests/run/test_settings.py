"""Flags beat the file, and a resumed run stays the run it was."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from hpt.config import HybridConfig
from hpt.errors import ConfigError, UsageError
from hpt.run.settings import (
    FIXED_ON_RESUME,
    TrainSettings,
    check_optimizer,
    complete_config,
    default_folder,
    merge_config,
    parse_exports,
)


def config_of(values: dict[str, Any], *, clip_norm: float | None = None) -> HybridConfig:
    return complete_config(values, steps=600, clip_norm=clip_norm, checkpoints=Path("out/checkpoints"))


def toml(folder: Path, text: str) -> str:
    path = folder / "settings.toml"
    path.write_text(text)
    return str(path)


def test_flags_beat_the_file(tmp_path: Path) -> None:
    """One setting from each source survives where no later source speaks."""
    file = toml(
        tmp_path,
        'predictor = "ridge"\nseed = 4\nfull_steps = 21\n[precision]\nautocast = "fp16"\ninitial_scale = 8.0\n',
    )
    config = config_of(merge_config(TrainSettings(config=file, predictor="mlp", dtype="fp32")))
    assert (config.predictor, config.seed, config.full_steps) == ("mlp", 4, 21)
    assert (config.precision.autocast, config.precision.initial_scale) == ("none", 8.0)


def test_without_flags_the_file_stands(tmp_path: Path) -> None:
    """A file alone means what it means to HybridConfig."""
    file = toml(tmp_path, "full_steps = 30\ncorrect_steps = 4\n")
    config = config_of(merge_config(TrainSettings(config=file)))
    expected: dict[str, Any] = HybridConfig.from_toml(file).to_dict() | {"total_steps": 600}
    expected["checkpoint"]["dir"] = "out/checkpoints"
    assert config.to_dict() == expected


@pytest.mark.parametrize(("text", "expected"), [("", 1.0), ("[update]\nclip_norm = 0.25\n", 0.25)])
def test_the_workload_clips_unless_the_file_does(tmp_path: Path, text: str, expected: float) -> None:
    """The workload's limit is the default of update.clip_norm, not its master."""
    values = merge_config(TrainSettings(config=toml(tmp_path, text)))
    assert config_of(values, clip_norm=1.0).update.clip_norm == expected


def test_a_stored_config_builds_the_same_config_again() -> None:
    """Through JSON and back nothing changes, so a resumed run has the settings of the first part."""
    config = config_of(merge_config(TrainSettings(predictor="ridge", dtype="bf16")), clip_norm=1.0)
    stored = json.loads(json.dumps(config.to_dict()))
    assert config_of(stored, clip_norm=9.0) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[checkpoint]\ndir = 'x'\n", "checkpoint.dir"),
        ("warmup_stepz = 3\n", "did you mean 'warmup_steps'"),
        ("= 3", "not TOML"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The refusal names what to change."""
    with pytest.raises(ConfigError, match=message):
        merge_config(TrainSettings(config=toml(tmp_path, text)))


def test_an_absent_file_and_an_unknown_predictor_are_refused(tmp_path: Path) -> None:
    """Both before anything is built."""
    with pytest.raises(ConfigError, match="cannot be read"):
        merge_config(TrainSettings(config=str(tmp_path / "absent.toml")))
    with pytest.raises(ConfigError, match="did you mean 'rssm'"):
        merge_config(TrainSettings(predictor="rsm"))


STORED = TrainSettings(
    workload="regression",
    predictor="none",
    optimizer="lion",
    steps=10,
    seed=1,
    config=None,
    data=None,
    device="cpu",
    dtype="fp32",
    threads=1,
    log=("csv",),
)


@pytest.mark.parametrize("name", FIXED_ON_RESUME)
def test_a_resumed_run_may_not_become_another_run(name: str) -> None:
    """Every flag that decides what is computed is refused when it differs, and taken when it does not."""
    other: Any = {"steps": 11, "seed": 2}.get(name, "other")
    with pytest.raises(UsageError, match=f"--{name} is {other}"):
        STORED.resumed_with(TrainSettings(**{name: other}), Path("out"))
    same = TrainSettings(**{name: getattr(STORED, name)})
    assert STORED.resumed_with(same, Path("out")) == STORED


def test_a_resumed_run_may_change_how_it_is_run() -> None:
    """Threads, device and exports are no part of what is computed."""
    flags = TrainSettings(threads=2, device="cuda", log=("tensorboard",))
    resumed = STORED.resumed_with(flags, Path("out"))
    assert asdict(resumed) == asdict(STORED) | {"threads": 2, "device": "cuda", "log": ("tensorboard",)}


def test_stored_settings_come_back(tmp_path: Path) -> None:
    """Through run.json and back."""
    assert TrainSettings.of_stored(json.loads(json.dumps(asdict(STORED)))) == STORED


def test_settings_of_runs_before_there_was_a_choice_of_optimizer_mean_the_workloads_own() -> None:
    """So that they can be resumed, and with another optimizer cannot."""
    stored = asdict(STORED)
    del stored["optimizer"]
    settings = TrainSettings.of_stored(stored)
    assert settings.resumed_with(TrainSettings(optimizer="workload"), Path("out")) == settings
    with pytest.raises(UsageError, match="--optimizer is adamw, but the run in out was begun with workload"):
        settings.resumed_with(TrainSettings(optimizer="adamw"), Path("out"))


def test_jumps_are_refused_on_an_optimizer_that_would_lose_them() -> None:
    """With the reason and both remedies; without jumps it is taken."""
    with pytest.raises(UsageError, match=r"a jump would be lost; use --predictor none, or another --optimizer"):
        check_optimizer("schedulefree", "rssm")
    check_optimizer("schedulefree", "none")
    check_optimizer("workload", "rssm")


def test_paths_of_flags_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run can be resumed from another working folder."""
    monkeypatch.chdir(tmp_path)
    flags = asdict(TrainSettings()) | {"data": "corpus", "config": "a.toml", "log": "csv, tensorboard,csv"}
    settings = TrainSettings.of_flags(flags)
    assert (settings.data, settings.config) == (str(tmp_path / "corpus"), str(tmp_path / "a.toml"))
    assert settings.log == ("csv", "tensorboard")


def test_unknown_exports_are_refused() -> None:
    """A misspelt export would otherwise be missed only after the run."""
    with pytest.raises(UsageError, match=r"'xml'.*csv, tensorboard"):
        parse_exports("csv,xml")
    assert parse_exports(None) is None


def test_the_default_folder_is_a_plain_name_for_any_workload() -> None:
    """A factory's import path holds characters that a folder should not."""
    assert default_folder("byte-gpt", "rssm", 0) == Path("runs/byte-gpt-rssm-s0")
    assert default_folder("pack.mod:make", "none", 3) == Path("runs/pack.mod-make-none-s3")
    assert default_folder("mlp", "none", 3, "my.mod:make") == Path("runs/mlp-none-my.mod-make-s3")
