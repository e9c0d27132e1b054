"""The memory probe reports what it read, and None for what it could not read."""

import os
import resource
import subprocess
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
import torch

from hpt.memory import probe
from hpt.memory.probe import MemoryReading, describe_sources, limit_bytes, read_memory, used_bytes

UUID = "12345678-9abc-def0-1234-56789abcdef0"


def test_without_a_gpu_only_the_process_is_known() -> None:
    """On the CPU the resident set is reported, in bytes, and everything about a GPU is None, not 0."""
    reading = read_memory("cpu")
    gpu = (reading.allocated_bytes, reading.reserved_bytes, reading.device_bytes)
    assert gpu == (None, None, None)
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert reading.process_bytes is not None
    # The kernel counts pages of the resident set in batches of a few per thread, so allow it one MiB.
    assert 10 * 1024**2 < reading.process_bytes <= peak_bytes + 1024**2


def test_resident_set_grows_with_what_is_touched() -> None:
    """Writing 64 MiB raises the reading by about that much."""
    before = read_memory(torch.device("cpu")).process_bytes
    block = torch.ones(64 * 1024**2, dtype=torch.uint8)
    after = read_memory(torch.device("cpu")).process_bytes
    assert before is not None
    assert after is not None
    assert 0.9 * block.nbytes < after - before < 1.5 * block.nbytes


def test_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading starts no process: every way to start one fails while it is made."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    for name in ("fork", "posix_spawn", "posix_spawnp", "system", "popen"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert read_memory("cpu").process_bytes


class Nvml:
    """NVML of a machine with one GPU, counted from the UUID; any call can be made to fail."""

    def __init__(self, failing: str, processes: list[tuple[int, int | None]], kind: str = "GPU") -> None:
        self._kind = kind
        self._failing = failing
        self._processes = processes

    def _answer(self, name: str, value: object) -> Any:
        if name == self._failing:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
        return value

    def nvmlInit(self) -> None:  # noqa: N802 (NVML's name)
        self._answer("init", None)

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> str:  # noqa: N802 (NVML's name)
        if uuid != f"{self._kind}-{UUID}".encode():
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return self._answer("handle", "gpu")

    def nvmlDeviceGetMigMode(self, handle: str) -> tuple[int, int]:  # noqa: N802 (NVML's name)
        if self._kind == "MIG":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return (1, 1) if self._failing == "sliced" else self._answer("handle", (0, 0))

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:  # noqa: N802 (NVML's name)
        return self._answer("memory", SimpleNamespace(used=900))

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[SimpleNamespace]:  # noqa: N802
        rows = [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self._processes]
        return self._answer("processes", rows)


OWN: list[tuple[int, int | None]] = [(1, 111), (os.getpid(), 333)]


@pytest.mark.parametrize(
    ("failing", "processes", "process_bytes", "device_bytes"),
    [
        ("", OWN, 333, 900),
        ("", [(os.getpid(), None)], None, 900),  # the driver knows the process but not its share
        ("", [(1, 111)], None, 900),  # a container: process numbers are the host's
        ("processes", OWN, None, 900),
        ("memory", OWN, 333, 700),  # the driver's total less its free memory
        ("handle", OWN, None, 700),  # a GPU that NVML does not know
        ("sliced", OWN, 333, 700),  # the whole GPU behind a slice: its 900 bytes are not ours to report
        ("init", OWN, None, 700),  # no NVML on this machine
    ],
)
def test_each_number_comes_from_its_source_or_is_none(
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
    processes: list[tuple[int, int | None]],
    process_bytes: int | None,
    device_bytes: int,
) -> None:
    """With parts of NVML missing, the other numbers stay, and what nobody knows is None."""
    reading = _read_on(monkeypatch, Nvml(failing, processes))
    assert reading == MemoryReading(100, 200, process_bytes, device_bytes)


def test_a_slice_is_asked_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where NVML knows the UUID as a slice's, the slice's own numbers are reported."""
    assert _read_on(monkeypatch, Nvml("", OWN, "MIG")) == MemoryReading(100, 200, 333, 900)


def _on_gpu(monkeypatch: pytest.MonkeyPatch, nvml: Nvml) -> None:
    """A machine with one GPU behind this NVML: 1000 bytes, 300 free, 200 reserved, 100 of them allocated."""
    probe._nvml_handle.cache_clear()
    monkeypatch.setattr(probe, "_nvml", nvml)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 100)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 200)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (300, 1000))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid=UUID))


def _read_on(monkeypatch: pytest.MonkeyPatch, nvml: Nvml) -> MemoryReading:
    _on_gpu(monkeypatch, nvml)
    reading = read_memory(torch.device("cuda", 0))
    probe._nvml_handle.cache_clear()
    return reading


def test_use_counts_others_and_not_what_we_could_reuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 700 bytes in use on the device 100 are our allocator's own reserve; the limit is the device's."""
    _on_gpu(monkeypatch, Nvml("", OWN))
    assert used_bytes("cuda:1") == 600
    assert limit_bytes("cuda:1") == 1000


@pytest.mark.parametrize(
    ("nvml", "said"),
    [
        (Nvml("", OWN), "CUDA allocator"),
        (Nvml("", [(1, 111)]), "container"),
        (Nvml("sliced", OWN), "MIG"),
        (Nvml("init", OWN), "NVML does not know"),
    ],
)
def test_missing_numbers_are_explained(monkeypatch: pytest.MonkeyPatch, nvml: Nvml, said: str) -> None:
    """Each source that fails has its sentence."""
    _on_gpu(monkeypatch, nvml)
    sentences = describe_sources("cuda:0")
    probe._nvml_handle.cache_clear()
    assert any(said in one for one in sentences)


def test_without_a_gpu_the_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """No CUDA in torch, or no driver: two different sentences, both saying that nothing was measured."""
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    assert describe_sources("cpu")[-1] == "GPU memory is not measured: this torch is built without CUDA"
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(probe, "_nvml", Nvml("init", []))
    assert "no NVIDIA driver was found" in describe_sources("cpu")[-1]


@pytest.mark.cuda
def test_readings_of_a_real_gpu_grow_with_a_tensor() -> None:
    """64 MiB on the GPU are seen by the allocator at once, and by the device within the context's noise."""
    torch.ones(1, device="cuda")
    before = read_memory("cuda")
    block = torch.ones(64 * 1024**2, dtype=torch.uint8, device="cuda")
    after = read_memory("cuda")
    assert before.allocated_bytes is not None
    assert after.allocated_bytes == before.allocated_bytes + block.nbytes
    assert after.reserved_bytes is not None
    assert after.device_bytes is not None
    assert before.allocated_bytes + block.nbytes <= after.reserved_bytes <= after.device_bytes
    assert after.process_bytes is None or after.process_bytes <= after.device_bytes
