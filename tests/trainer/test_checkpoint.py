"""A checkpoint is whole or not there, and whatever is not as it was written is refused."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import lr_scheduler

from hpt.errors import CheckpointError, DiskError
from hpt.jsonfiles import owner
from hpt.trainer import checkpoint_file
from hpt.trainer.checkpoint_file import CheckpointFolder, read_checkpoint, write_checkpoint

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
STATE: dict[str, Any] = {
    "step": 7,
    "loss": float("inf"),
    "weights": {"a": torch.arange(5.0), "b": torch.ones(3, 2, dtype=torch.bfloat16)},
    "name": 'quotes " and ünïcode',
}


def _header(data: bytes) -> bytes:
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


def _assert_is_state(state: Any) -> None:
    weights = state["weights"]
    assert all(torch.equal(weights[key], one) for key, one in STATE["weights"].items())
    assert {**state, "weights": None} == {**STATE, "weights": None}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of one good checkpoint, with padding at the end of its header."""
    path = tmp_path_factory.mktemp("good") / "a.safetensors"
    for size in range(8):
        write_checkpoint(path, STATE | {"filler": "x" * size})
        if _header(path.read_bytes()).endswith(b" "):
            return path.read_bytes()
    raise AssertionError("no length of the header needed padding")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to be written over and over."""
    return tmp_path_factory.mktemp("scratch") / "b.safetensors"


def _assert_refused(path: Path, data: bytes, match: str | None = None) -> None:
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=match) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_is_plain_safetensors_with_json(tmp_path: Path) -> None:
    """The state comes back, the size is the one reported, and other programs can read tensors and JSON."""
    path = tmp_path / "deep" / "folder" / "a.safetensors"
    assert write_checkpoint(path, STATE) == path.stat().st_size
    _assert_is_state(read_checkpoint(path))
    by_name = {key.split(":")[1]: one for key, one in load_file(path).items()}
    assert torch.equal(by_name["weights/b"], STATE["weights"]["b"])
    metadata = json.loads(_header(path.read_bytes()))["__metadata__"]
    assert json.loads(metadata["state"])["step"] == 7
    assert list(path.parent.iterdir()) == [path]
    (tmp_path / "mine").touch()
    assert path.stat().st_mode == (tmp_path / "mine").stat().st_mode


@QUICK
@given(place=st.integers(0), change=st.integers(1, 255))
def test_any_altered_byte_is_refused(good: bytes, scratch: Path, place: int, change: int) -> None:
    """Whatever single byte becomes whatever other value, anywhere in the file, the file is refused."""
    data = bytearray(good)
    data[place % len(data)] ^= change
    _assert_refused(scratch, bytes(data))


def test_altered_padding_is_refused(good: bytes, scratch: Path) -> None:
    """White space is not exchangeable: a tab in the header's padding is an alteration like any other."""
    end = 8 + len(_header(good))
    assert good[end - 1 : end] == b" "
    _assert_refused(scratch, good[: end - 1] + b"\t" + good[end:])


@QUICK
@given(length=st.integers(0))
def test_a_file_cut_short_is_refused(good: bytes, scratch: Path, length: int) -> None:
    """Every shorter file is refused, the empty one too; so is one with bytes at its end."""
    _assert_refused(scratch, good[: length % len(good)])
    _assert_refused(scratch, good + b"\0" * (1 + length % 9))


def test_foreign_missing_and_newer_files_are_refused(good: bytes, tmp_path: Path) -> None:
    """Another program's file, no file, a folder and another schema each get a message of their own."""
    path = tmp_path / "c.safetensors"
    save_file({"a": torch.ones(2)}, path, {"format": "pt"})
    _assert_refused(path, path.read_bytes(), "no checkpoint of hpt")
    for schema, remedy in ((2, "an older"), (4, "a newer")):
        write_checkpoint(path, STATE, schema_version=schema)
        _assert_refused(path, path.read_bytes(), f"has schema {schema}, this hpt reads 3; load it with {remedy} hpt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(tmp_path / "missing.safetensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(tmp_path)


def _fails_without_loss(path: Path, match: str) -> None:
    before = path.read_bytes()
    with pytest.raises(DiskError, match=match) as caught:
        write_checkpoint(path, {"weights": torch.ones(100_000)})
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_space_is_checked_before_a_byte_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little space is refused with the bytes needed and left, and the old file stays."""
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, STATE)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=300_000))
    _fails_without_loss(path, r"needs 14\d\d\d\d\d bytes .* has 300000 left; free some space")


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    """When the kernel refuses to write on (a limit on file size), nothing of the attempt remains."""
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, STATE)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        _fails_without_loss(path, "cannot be written")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
def test_a_disk_that_fills_up_meanwhile_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """ENOSPC at any stage is a DiskError that says so, and the old file stays."""
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, STATE)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def library_full(*_: object) -> None:  # what safetensors says on a full disk
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    if name == "write":
        monkeypatch.setattr(checkpoint_file, "save_file", library_full)
    else:
        monkeypatch.setattr(os if name == "fsync" else Path, name, full)
    _fails_without_loss(path, "the disk is full")


def test_a_folder_that_cannot_be_made_is_a_disk_error(tmp_path: Path) -> None:
    """A path through a file is refused with the system's own words."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot be written"):
        write_checkpoint(tmp_path / "file" / "a.safetensors", STATE)


def test_file_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contents are synced, then the name changes, then the folder is synced."""
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def traced_fsync(descriptor: int) -> None:
        events.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink()}")
        fsync(descriptor)

    def traced_replace(source: Path, target: Path) -> Path:
        events.append(f"rename {source} {target}")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(Path, "replace", traced_replace)
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, STATE)
    partial = f"{tmp_path}/.a.safetensors.{owner()}.partial/a.safetensors"
    assert events == [f"sync {partial}", f"rename {partial} {path}", f"sync {tmp_path}"]


def test_folder_keeps_the_newest_and_names_them_by_step(tmp_path: Path) -> None:
    """After saves at five steps with keep=3 the last three stay, in numerical order, and report."""
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=3)
    assert folder.latest() is None
    reports = [folder.save(STATE | {"step": step}, step) for step in (50, 100, 99_999_999, 100_000_000, 10**9)]
    assert folder.steps() == [99_999_999, 100_000_000, 10**9]
    assert folder.path_for(50).name == "step-00000050.safetensors"
    path = folder.path_for(10**9)
    assert (folder.latest(), reports[-1].path) == (path, path)
    assert reports[-1].num_bytes == path.stat().st_size
    assert all(0 < one.wall_s < 60 for one in reports)


def test_a_save_after_going_back_removes_the_abandoned_future(tmp_path: Path) -> None:
    """A run resumed from step 100 that saves at 120 has its own file as the latest, not step 150."""
    folder = CheckpointFolder(tmp_path, keep=2)
    for step in (50, 100, 150, 120):
        folder.save(STATE | {"step": step}, step)
    assert folder.steps() == [100, 120]
    assert read_checkpoint(folder.path_for(120))["step"] == 120


def test_leftovers_of_dead_processes_go_and_of_living_ones_stay(tmp_path: Path) -> None:
    """The next save removes a partial file whose process has ended, not that of one at work, here or elsewhere."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = owner().partition(".")[0]
    whose = (f"{host}.{ended.pid}", f"{host}.{os.getppid()}", f"elsewhere.{ended.pid}", f"elsewhere.{os.getpid()}")
    dead, *others = (tmp_path / f".x.safetensors.{one}.partial" for one in whose)
    for one in (dead, *others):
        one.mkdir()
        (one / "half").touch()
    CheckpointFolder(tmp_path, keep=1).save(STATE, 1)
    assert [one.exists() for one in (dead, *others)] == [False, True, True, True]


KILLED = """
import os, random, signal, sys, time
import torch
from hpt.trainer import checkpoint_file
from hpt.trainer.checkpoint_file import CheckpointFolder
torch.set_num_threads(1)
chance, folder, first = random.Random(5), CheckpointFolder(sys.argv[1], keep=2), 1
kills = hits = 0
while kills < 8 or (hits == 0 and kills < 80):
    child = os.fork()
    if child == 0:
        for step in range(first, first + 10_000):
            folder.save({"step": step, "weights": torch.full((300_000,), float(step))}, step)
    while folder.latest() is None or folder.steps()[-1] <= first:
        time.sleep(0.001)
    time.sleep(chance.uniform(0.0, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    path = folder.latest()
    state = checkpoint_file.read_checkpoint(path)
    assert path == folder.path_for(state["step"]) and bool((state["weights"] == state["step"]).all())
    first = state["step"] + 1
    kills, hits = kills + 1, hits + len(list(folder.directory.glob(".*.partial")))
folder.save({}, first)
assert hits and len(list(folder.directory.iterdir())) == 2
"""


def test_killed_at_any_moment_the_latest_checkpoint_loads(tmp_path: Path) -> None:
    """A process saving in a loop is killed again and again, also half-way through a write: the newest file is whole.

    The next save leaves nothing of the unfinished ones behind.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")


SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "step": lambda o: lr_scheduler.StepLR(o, 3),
    "multi_step": lambda o: lr_scheduler.MultiStepLR(o, [2, 7]),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda step: 1 / (1 + step)),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 20),
    "restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 4),
    "one_cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=30),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 3, cycle_momentum=False),
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o), lr_scheduler.ExponentialLR(o, 0.9)], [4]
    ),
    "chained": lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.ConstantLR(o), lr_scheduler.PolynomialLR(o)], o),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=1),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_run_goes_on_from_the_file_bit_for_bit(tmp_path: Path, name: str) -> None:
    """Losses and learning rates after reading into new objects equal those of the run that never stopped."""

    def make() -> tuple[nn.Module, torch.optim.Optimizer, Any]:
        model = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, amsgrad=True)
        return model, optimizer, SCHEDULERS[name](optimizer)

    def train(parts: tuple[nn.Module, torch.optim.Optimizer, Any], stream: torch.Generator) -> list[Any]:
        model, optimizer, scheduler = parts
        seen: list[Any] = []
        for _ in range(6):
            optimizer.zero_grad()
            loss = model(torch.randn(8, 5, generator=stream)).square().mean()
            loss.backward()
            optimizer.step()
            scheduler.step(*([loss.item()] if name == "plateau" else []))
            seen.append((loss.item(), optimizer.param_groups[0]["lr"]))
        return seen

    running, stream = make(), torch.Generator().manual_seed(0)
    train(running, stream)
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, {"parts": [one.state_dict() for one in running], "stream": stream.get_state()})
    state, resumed = read_checkpoint(path), make()
    for one, stored in zip(resumed, state["parts"], strict=True):
        one.load_state_dict(stored)
    expected = train(running, stream)
    assert train(resumed, torch.Generator().set_state(state["stream"])) == expected
