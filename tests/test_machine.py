"""Facts about the machine are read, not guessed, and never cost an import of torch."""

import json
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pynvml
import pytest
import torch

import hpt
from hpt.machine import code_version, cpu_model, describe_machine, has_gpu, package_version, source_digests, utc_now

ON_ONE_CORE = """
import json, os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from hpt.machine import describe_machine
print(json.dumps(describe_machine(device="cpu", threads=1) | {"has_torch": "torch" in sys.modules}))
"""


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs an affinity to set")
def test_the_description_follows_the_affinity_and_needs_no_torch() -> None:
    """A process pinned to one core says so, and describing it imports no torch."""
    done = subprocess.run([sys.executable, "-c", ON_ONE_CORE], capture_output=True, text=True, check=True)
    facts = json.loads(done.stdout)
    assert facts["num_usable_cores"] == 1
    assert facts["num_cores"] == os.cpu_count()
    assert not facts["has_torch"]


def test_versions_are_those_that_run() -> None:
    """Metadata and the imported module agree (torch adds its build to the version)."""
    facts = describe_machine(device="cpu", threads=3)
    assert str(torch.__version__).startswith(str(facts["torch"]).partition("+")[0])
    assert facts["hpt"] == hpt.__version__
    assert facts["python"] == platform.python_version()
    assert facts["threads"] == 3
    assert package_version("no-such-distribution") is None


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="needs Linux")
def test_the_processor_has_its_name_from_the_kernel() -> None:
    """The same name as a plain search in the kernel's own list, or nothing where the kernel gives none."""
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    assert cpu_model() == (found[1].strip() if found else platform.processor() or None)


def test_now_is_in_utc() -> None:
    """The stamp parses back to the present, whatever the machine's time zone."""
    stamp = datetime.fromisoformat(utc_now())
    assert stamp.tzinfo == UTC
    assert abs(datetime.now(UTC) - stamp) < timedelta(seconds=5)


def test_code_version_tells_tracked_from_merely_nearby(tmp_path: Path) -> None:
    """A tracked file has a commit, a changed tree is dirty; a file merely in a repository has neither."""
    source = tmp_path / "code.py"
    source.write_text("x = 1\n")
    assert code_version(source) == (None, None)
    git(tmp_path, "init", "-q")
    assert code_version(source) == (None, None)
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-q", "-m", "first")
    commit, is_dirty = code_version(source)
    assert commit is not None
    assert re.fullmatch(r"[0-9a-f]{40}", commit)
    assert is_dirty is False
    source.write_text("x = 2\n")
    assert code_version(source) == (commit, True)


def test_sources_are_told_apart_member_by_member(tmp_path: Path) -> None:
    """An edit shows in its own member alone, one of a JSON file under its path; other files do not count."""
    for name in ("trainer", "cli", "assets"):
        (tmp_path / name).mkdir()
    (tmp_path / "trainer" / "one.py").write_text("a = 1\n")
    (tmp_path / "cli" / "two.py").write_text("b = 1\n")
    (tmp_path / "errors.py").write_text("")
    (tmp_path / "assets" / "note.txt").write_text("x")
    (tmp_path / "trainer" / "rates.json").write_text("[1]")
    before = source_digests.__wrapped__(tmp_path)
    (tmp_path / "trainer" / "one.py").write_text("a = 2\n")
    after = source_digests.__wrapped__(tmp_path)
    (tmp_path / "trainer" / "rates.json").write_text("[2]")
    (tmp_path / "assets" / "note.txt").write_text("y")
    last = source_digests.__wrapped__(tmp_path)
    assert set(before) == {"trainer", "trainer/rates.json", "cli", "errors.py"}
    assert {name for name in before if before[name] != after[name]} == {"trainer"}
    assert {name for name in after if after[name] != last[name]} == {"trainer/rates.json"}
    assert describe_machine(device="cpu", threads=1)["sources"]["trainer"]


def test_a_gpu_that_torch_can_use_is_known() -> None:
    """NVML and CUDA are of one driver."""
    assert has_gpu() or not torch.cuda.is_available()


@pytest.mark.parametrize(("count", "has"), [(0, False), (2, True)])
def test_the_driver_says_how_many_gpus_there_are(monkeypatch: pytest.MonkeyPatch, count: int, has: bool) -> None:
    """As NVML has it; none without a driver."""
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: count)
    assert has_gpu() is has

    def fail() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", fail)
    assert not has_gpu()
