"""Arms of two processes: what is kept of each, what is judged, and how the death of one is told."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from references.mortal_arm import DIES, LAST_STEP

from hpt.cli.main import run
from hpt.validate import run as validation
from hpt.validate.plan import ValidationJob, ValidationRequest
from hpt.validate.results import FAILED
from hpt.validate.run import run_job

pytestmark = pytest.mark.processes

JOB = ValidationJob(
    kind="arm", name="plain", model="gpt2-nano", steps=4, batch_size=1, seq_len=8, device="cpu", threads=1, processes=2
)
OF_RANKS = ("copies", "growth", "cost of watching memory", "peak over plain", "forced cycle: hybrid")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A validation of two arms of two processes, without drills."""
    folder = tmp_path_factory.mktemp("group") / "out"
    sizes = ("--model", "gpt2-nano", "--device", "cpu", "--threads", "1", "--seq-len", "8", "--steps", "49")
    flags = ("--arms", "plain,hybrid", "--drills", "none", "--processes", "2", "--quiet", "--out", str(folder))
    assert run(["validate-vram", *sizes, *flags]) in {0, 3}  # whether memory passes on a busy machine is not asked
    return folder


@pytest.fixture(scope="module")
def document(folder: Path) -> dict[str, Any]:
    """Its run.json."""
    return json.loads((folder / "run.json").read_text())


def calls_of(folder: Path, arm: str) -> list[dict[str, str]]:
    """Rows of its table."""
    rows = csv.DictReader((folder / "steps.csv").read_text().splitlines())
    return [row for row in rows if row["arm"] == arm]


def test_the_ratio_of_each_rank_is_over_the_same_rank(document: dict[str, Any]) -> None:
    """Both peaks are kept, and above them the highest with its rank."""
    plain, hybrid = (document["arms"][name]["ranks"] for name in ("plain", "hybrid"))
    assert len(plain) == len(hybrid) == 2
    for mine, below in zip(hybrid, plain, strict=True):
        assert mine["peak_bytes"] > below["peak_bytes"] > 0
        assert mine["ratio"] == mine["peak_bytes"] / below["peak_bytes"]
    arm = document["arms"]["hybrid"]
    assert arm["peak_bytes"] == max(one["peak_bytes"] for one in hybrid) == hybrid[arm["rank"]]["peak_bytes"]
    assert arm["ratio"] == hybrid[arm["rank"]]["ratio"]


def test_the_peak_of_a_rank_is_of_its_own_calls(folder: Path, document: dict[str, Any]) -> None:
    """The highest of them above the baseline that the process had."""
    for rank, one in enumerate(document["arms"]["plain"]["ranks"]):
        peaks = [int(row["peak_bytes"]) for row in calls_of(folder, f"plain, rank {rank}")]
        assert len(peaks) == 49
        assert one["peak_bytes"] == max(peaks) - one["baseline_bytes"]


def test_each_rank_has_data_of_its_own_and_all_the_same_weights(folder: Path) -> None:
    """Losses of the ranks differ from the first call on; those of a rank are the same in both arms until a jump."""
    first, second = (calls_of(folder, f"plain, rank {rank}") for rank in (0, 1))
    assert first[0]["loss"] != second[0]["loss"]
    hybrid = calls_of(folder, "hybrid, rank 1")
    jump = [row["phase"] for row in hybrid].index("PREDICT")
    before = [(float(mine["loss"]), float(theirs["loss"])) for mine, theirs in zip(hybrid[:jump], second, strict=False)]
    assert all(mine == pytest.approx(theirs, rel=1e-3) for mine, theirs in before)


def test_checks_name_the_rank_that_they_judge(document: dict[str, Any]) -> None:
    """Of the arms; that on a GPU which nobody has is of one process."""
    evidence = {one["name"]: one["evidence"] for one in document["checks"]}
    assert all(evidence[name].startswith(("rank 0, worst of 2: ", "rank 1, worst of 2: ")) for name in OF_RANKS)
    assert "worst of" not in evidence["estimated peak over plain on a CUDA device"]
    assert "estimate against measurement" not in evidence
    verdicts = {one["name"]: one["verdict"] for one in document["checks"]}
    assert (verdicts["forced cycle: hybrid"], verdicts["copies"]) == ("passed", "passed")


def test_host_memory_is_not_called_vram(document: dict[str, Any]) -> None:
    """In the first sentence, of each process."""
    assert document["measures"].endswith("measuring host memory of each of 2 processes, not VRAM; a GPU's is estimated")
    assert document["measured"] == "host memory (there is no GPU in this run)"
    assert document["settings"]["processes"] == 2


def test_a_killed_rank_is_told_and_the_others_are_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the middle of training, where the other waits for its gradients; what both had sent is kept."""
    monkeypatch.setitem(validation.TARGETS, "arm", "references.mortal_arm:act")
    (arm,) = run_job(JOB, tmp_path, lambda *_: None)
    assert (arm.status, arm.exit_code) == (FAILED, -9)
    assert arm.message.startswith(f"rank {DIES}: its process was ended by signal 9")
    assert [one.status for one in arm.by_rank] == [FAILED, FAILED]
    assert [step["step"] for step in arm.by_rank[DIES].steps] == [1, LAST_STEP]
    assert not (tmp_path / "arm-plain.done.json").exists()


def test_drills_and_estimates_are_of_one_process() -> None:
    """Only arms are of several, and what they hold is not estimated for this machine."""
    request = ValidationRequest(job=JOB, arms=("plain", "hybrid"), drills="nano", estimate_seq_len=8)
    processes = {f"{job.kind} {job.name}"[:14]: job.processes for job in request.jobs()}
    assert processes == {"estimate cuda": 1, "arm plain": 2, "arm hybrid": 2, "drill clean-up": 1}


def test_on_cuda_each_rank_has_a_gpu() -> None:
    """By its rank, and they send by NCCL; on a CPU by gloo."""
    here = ValidationJob.from_document({**JOB.to_document(), "device": "cuda"}).in_group(1, Path("meeting"))
    assert (here["device"], here["place"]["backend"]) == ("cuda:1", "nccl")
    assert (JOB.in_group(1, Path("meeting"))["device"], JOB.processes) == ("cpu", 2)


def test_a_job_that_was_stored_before_had_one_process() -> None:
    """Its document does not name them."""
    document = JOB.to_document()
    del document["processes"]
    assert ValidationJob.from_document(document).processes == 1
