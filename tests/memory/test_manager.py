"""The parts of the memory manager, each on its own."""

import sys

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from hpt.config import MemoryConfig
from hpt.memory import cleanup, manager
from hpt.memory.cleanup import Cleaner, HeapReading
from hpt.memory.manager import NO_FINDINGS, CopyCounter, MemoryAlarm, MemoryManager, Thresholds, is_out_of_memory

CPU = torch.device("cpu")
MIB = 1024**2


def test_updates_in_place_are_no_copies_and_new_tensors_are() -> None:
    """add_ keeps the place; a new tensor under one of two parameters is one copy, and counted once."""
    weights = [torch.nn.Parameter(torch.ones(8)) for _ in range(2)]
    counter = CopyCounter(weights)
    with torch.no_grad():
        weights[0].add_(1.0)
    assert counter.check() == 0
    weights[1].data = weights[1].data + 1.0
    assert (counter.check(), counter.check(), counter.num_copies) == (1, 0, 1)


def _cleaner(monkeypatch: pytest.MonkeyPatch, heaps: list[tuple[int, int]], **settings: int | float) -> Cleaner:
    """A cleaner on an allocator whose (in use, held) MiB are given, one reading after the other."""
    readings = iter([HeapReading(used * MIB, held * MIB) for used, held in heaps])
    monkeypatch.setattr(cleanup, "read_heap", lambda: next(readings))
    monkeypatch.setattr(cleanup, "free_idle", lambda _: 7)
    return Cleaner(MemoryConfig.from_dict({"cleanup_interval": 10, **settings}), CPU)


def test_clean_up_comes_at_its_interval_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 30 updates the 10th, 20th and 30th clean up, as there is always as much idle again."""
    cleaner = _cleaner(monkeypatch, [(100, 300), (100, 100)] * 3)
    done = [update for update in range(1, 31) if cleaner.after_update(update)]
    assert done == [10, 20, 30]
    assert (cleaner.num_cleanups, cleaner.freed_bytes) == (3, 21)


def test_another_interval_and_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interval is a setting, and 0 switches the layer off without a look at the allocator."""
    cleaner = _cleaner(monkeypatch, [(100, 300), (100, 100)] * 4, cleanup_interval=5)
    assert [update for update in range(1, 21) if cleaner.after_update(update)] == [5, 10, 15, 20]
    off = _cleaner(monkeypatch, [], cleanup_interval=0)
    assert not any(off.after_update(update) for update in range(1, 51))


@pytest.mark.parametrize(("used", "held", "acts"), [(100, 163, False), (100, 165, True), (1000, 1200, False)])
def test_only_what_is_large_in_bytes_and_as_a_share_is_worth_it(
    monkeypatch: pytest.MonkeyPatch, used: int, held: int, acts: bool
) -> None:
    """Defaults: at least 64 MiB idle, and a quarter of what is held."""
    cleaner = _cleaner(monkeypatch, [(used, held), (used, used)])
    assert (cleaner.after_update(10) is not None) == acts


def test_what_a_clean_up_could_not_free_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """90 MiB of fragments stay idle after the first clean-up; only when 100 more come is there a second."""
    heaps = [(100, 300), (100, 190), (100, 190), (100, 290), (100, 190)]
    cleaner = _cleaner(monkeypatch, heaps)
    assert [bool(cleaner.after_update(update)) for update in (10, 20, 30)] == [True, False, True]


def _thresholds(monkeypatch: pytest.MonkeyPatch, uses: list[int], **settings: float | None) -> list[list[MemoryAlarm]]:
    """Alarms of one check after the other on a device of 1000 bytes."""
    used = iter(uses)
    monkeypatch.setattr(manager, "used_bytes", lambda _: next(used))
    monkeypatch.setattr(manager, "limit_bytes", lambda _: 1000)
    config = MemoryConfig.from_dict({"warn_at": None, "checkpoint_at": None, **settings})
    guard = Thresholds(config, CPU)
    return [guard.check() for _ in uses]


def test_a_threshold_speaks_once_until_use_has_fallen_well_below(monkeypatch: pytest.MonkeyPatch) -> None:
    """900 of 1000 warns once; 870 is not far enough below to arm it again, 850 is."""
    alarms = _thresholds(monkeypatch, [899, 900, 950, 870, 900, 850, 900], warn_at=0.9)
    assert alarms == [[], [MemoryAlarm.WARN], [], [], [], [], [MemoryAlarm.WARN]]


def test_degrading_goes_on_as_long_as_use_is_above(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look above the threshold is one more rung; bytes and shares may be mixed."""
    alarms = _thresholds(monkeypatch, [700, 800, 800, 980, 500], degrade_at=750.0, checkpoint_at=0.97)
    assert alarms == [[], [MemoryAlarm.DEGRADE], [MemoryAlarm.DEGRADE], [MemoryAlarm.DEGRADE, MemoryAlarm.SAVE], []]


def test_without_thresholds_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switched off, the layer reads no memory at all."""
    assert _thresholds(monkeypatch, [], warn_at=None) == []
    guard = Thresholds(MemoryConfig.from_dict({"warn_at": None, "checkpoint_at": None}), CPU)
    assert guard.check() == []
    assert guard.used_bytes is None


def test_default_settings_of_the_layers() -> None:
    """What a user gets who sets nothing: warned and saved near the end, never degraded."""
    config = MemoryConfig()
    assert (config.warn_at, config.degrade_at, config.checkpoint_at) == (0.9, None, 0.97)
    assert (config.cleanup_interval, config.cleanup_min_bytes, config.check_interval) == (50, 64 * MIB, 50)
    assert (config.max_retries, config.offload_optimizer) == (2, False)


def test_a_real_failed_allocation_is_told_apart() -> None:
    """64 TiB fail on the host with a plain RuntimeError, which is memory; a shape mismatch is none."""
    with pytest.raises(RuntimeError) as failed:
        torch.empty(1 << 46, dtype=torch.uint8)
    assert is_out_of_memory(failed.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as other:
        torch.mm(torch.ones(2, 3), torch.ones(2, 3))
    assert not is_out_of_memory(other.value)


def test_recovery_lets_go_of_the_failed_call() -> None:
    """Tensors that only the traceback's frames hold are gone after recovery."""
    guard = MemoryManager(MemoryConfig(), CPU, [])
    alive: list[torch.Tensor] = []

    def fail() -> None:
        activations = torch.ones(16)
        alive.append(activations)
        raise torch.OutOfMemoryError("no memory")

    with pytest.raises(torch.OutOfMemoryError) as caught:
        fail()
    before = sys.getrefcount(alive[0])
    assert guard.recover(caught.value)
    after = sys.getrefcount(alive[0])
    assert after == before - 1
    assert not guard.recover(ValueError("not memory"))


def test_findings_of_an_update_name_every_layer() -> None:
    """Copies and thresholds are looked at when their interval is over, and on no other update."""
    weight = torch.nn.Parameter(torch.ones(4))
    guard = MemoryManager(MemoryConfig.from_dict({"warn_at": 2.0, "check_interval": 3}), CPU, [weight])
    first = guard.after_update()
    weight.data = weight.data.clone()
    second, third = guard.after_update(), guard.after_update()
    assert first is second is NO_FINDINGS
    assert (third.num_moved, third.num_updates, third.alarms) == (1, 3, (MemoryAlarm.WARN,))
    assert guard.read().process_bytes


@pytest.mark.parametrize("size", [8, 1000, 100_000])
def test_a_parameter_that_moves_in_every_update_is_found_by_each_look(size: int) -> None:
    """Ten copies may end where they began, as the allocator gives old places back: each look still names the one."""
    weights = [torch.nn.Parameter(torch.ones(size)) for _ in range(3)]
    guard = MemoryManager(MemoryConfig.from_dict({"check_interval": 10}), CPU, weights)
    found = []
    for update in range(1, 31):
        weights[1].data = weights[1].data.clone()
        findings = guard.after_update()
        found += [(update, findings.num_moved, findings.num_updates)] if findings.num_moved else []
    assert found == [(10, 1, 10), (20, 1, 10), (30, 1, 10)]


def test_a_watched_parameter_frees_its_old_memory() -> None:
    """Watching costs nothing: the storage that a parameter has left is freed though it is still remembered."""
    weight = torch.nn.Parameter(torch.ones(8))
    counter = CopyCounter([weight])
    old = StorageWeakRef(weight.untyped_storage())
    weight.data = weight.data.clone()
    assert old.expired()
    assert counter.check() == 1
