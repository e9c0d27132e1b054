"""Host memory is read from the kernel and from malloc, and limits from the control groups above this process."""

from pathlib import Path

import psutil
import torch
from references.spike import spike

from hpt.memory.cleanup import read_heap, trim_heap
from hpt.memory.peak import high_water_bytes, reset_high_water
from hpt.memory.probe import host_limit_bytes, resident_bytes

MIB = 1024**2
BLOCK = 64 * 1024


def test_a_reset_peak_forgets_what_was_freed() -> None:
    """64 MiB freed before the reset are in the old high-water mark and not in the new one."""
    spike(64 * MIB)
    before = high_water_bytes()
    assert reset_high_water()
    after = high_water_bytes()
    assert before is not None
    assert after is not None
    assert before - after > 60 * MIB
    assert abs(after - resident_bytes()) < 2 * MIB


def test_a_peak_is_kept_after_the_memory_is_gone() -> None:
    """What was in use for a moment after the reset stays in the mark."""
    reset_high_water()
    start = resident_bytes()
    spike(64 * MIB)
    peak = high_water_bytes()
    assert peak is not None
    assert peak - start > 60 * MIB


def test_unreadable_marks_are_none_and_false(tmp_path: Path) -> None:
    """Where the kernel offers neither file there is no number, never 0."""
    assert high_water_bytes(tmp_path / "status") is None
    assert not reset_high_water(tmp_path / "none" / "clear_refs")


def test_trimming_returns_what_lies_idle() -> None:
    """28 MiB of freed blocks between kept ones are idle in the heap, and leave the process when it is trimmed."""
    blocks = [torch.ones(BLOCK, dtype=torch.uint8) for _ in range(512)]
    kept = blocks[::8]
    before = read_heap()
    del blocks
    after = read_heap()
    assert before is not None
    assert after is not None
    freed = 448 * BLOCK
    assert after.idle_bytes - before.idle_bytes > 0.9 * freed
    held = resident_bytes()
    assert trim_heap()
    assert held - resident_bytes() > 0.8 * freed
    assert len(kept) == 64


def test_a_container_is_bound_by_the_tightest_group_above_it(tmp_path: Path) -> None:
    """Version 2: 'max' sets nothing, a parent's limit holds for its children."""
    (tmp_path / "cgroup").write_text("0::/a/b\n")
    for folder, limit in (("a/b", "max"), ("a", str(300 * MIB))):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "memory.max").write_text(limit + "\n")
    assert host_limit_bytes(tmp_path / "cgroup", tmp_path) == 300 * MIB


def test_version_1_writes_a_huge_number_for_no_limit(tmp_path: Path) -> None:
    """The kernel's 'no limit' of version 1 is not taken for one, nor is another controller's group."""
    (tmp_path / "cgroup").write_text("5:cpu:/x\n4:memory:/box\n")
    place = tmp_path / "memory" / "box"
    place.mkdir(parents=True)
    (place / "memory.limit_in_bytes").write_text("9223372036854771712")
    total = psutil.virtual_memory().total
    assert host_limit_bytes(tmp_path / "cgroup", tmp_path) == total
    (place / "memory.limit_in_bytes").write_text(str(100 * MIB))
    assert host_limit_bytes(tmp_path / "cgroup", tmp_path) == 100 * MIB


def test_without_control_groups_the_limit_is_the_machine(tmp_path: Path) -> None:
    """No file, no limit but the machine's memory."""
    assert host_limit_bytes(tmp_path / "cgroup", tmp_path) == psutil.virtual_memory().total
