"""Jobs in processes: what they send arrives, how they end is told, and none outlives its parent."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hpt.run import processes
from hpt.run.processes import ChildJob, JobEnd, JobsProgress, run_jobs

ROOT = Path(__file__).parents[2]


def job(name: str, key: str | None = None, environment: dict[str, str] | None = None, **arguments: Any) -> ChildJob:
    return ChildJob(key=key or name, target=f"references.errands:{name}", arguments=arguments, environment=environment)


def end_of(one: ChildJob) -> JobEnd:
    (end,) = run_jobs([one])
    return end


def is_alive(pid: int) -> bool:
    """The process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until_gone(pid: int, patience_s: float = 10.0) -> bool:
    until_s = time.monotonic() + patience_s
    while is_alive(pid) and time.monotonic() < until_s:
        time.sleep(0.02)
    return not is_alive(pid)


@pytest.mark.parametrize("environment", [None, {"HPT_TEST_VARIABLE": "set"}])
def test_what_a_job_yields_arrives_in_order(environment: dict[str, str] | None) -> None:
    """Document by document while it runs, and all of them with its end; forked or in a fresh interpreter."""
    seen: list[tuple[str, Any]] = []
    (end,) = run_jobs(
        [job("count", n=4, environment=environment)], on_document=lambda one, d: seen.append((one.key, d))
    )
    assert seen == [("count", {"number": number}) for number in range(4)]
    assert end.documents == tuple(document for _, document in seen)
    assert (end.exit_code, end.error) == (0, None)


def test_a_job_runs_in_a_process_of_its_own() -> None:
    """Two jobs, two processes, neither of them this one."""
    first, second = run_jobs([job("tell", "a"), job("tell", "b")])
    assert len({first.documents[0]["pid"], second.documents[0]["pid"], os.getpid()}) == 3


def test_a_variable_of_one_job_is_set_there_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh interpreter gets it; the next job and this process do not."""
    monkeypatch.delenv("HPT_TEST_VARIABLE", raising=False)
    first, second = run_jobs([job("tell", "a", {"HPT_TEST_VARIABLE": "x"}), job("tell", "b", {})])
    assert [one.documents[0]["variable"] for one in (first, second)] == ["x", None]
    assert "HPT_TEST_VARIABLE" not in os.environ


def test_modules_in_the_working_folder_stand_in_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's random.py is not what a fresh interpreter imports on its way to the job."""
    for name in ("multiprocessing", "random", "json"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the wrong module')")
    monkeypatch.chdir(tmp_path)
    assert end_of(job("count", n=1, environment={})).error is None


def test_words_on_stdout_are_kept_and_go_nowhere_else(capfd: pytest.CaptureFixture[str]) -> None:
    """What a library prints does not mix with the data of the command."""
    end = end_of(job("speak"))
    assert end.documents == ({"spoke": True},)
    assert "a library's word" in end.words
    assert "a warning from C" in end.words
    assert capfd.readouterr() == ("", "")


def test_an_error_for_the_user_keeps_its_line_and_exit_code() -> None:
    """DataError is 6; what was sent before is kept, and the traceback is among the words."""
    end = end_of(job("refuse"))
    assert (end.exit_code, end.error) == (6, "data is missing; put it there")
    assert end.documents == ({"number": 0},)
    assert "Traceback" in end.words


def test_an_accident_is_named_by_its_type() -> None:
    """Exit code 1."""
    end = end_of(job("stumble", zero=0))
    assert end.exit_code == 1
    assert end.error is not None
    assert end.error.startswith("ZeroDivisionError: ")


def test_memory_that_ran_out_has_exit_code_7() -> None:
    """Python's own MemoryError."""
    end = end_of(job("exhaust"))
    assert (end.exit_code, end.error) == (7, "out of memory: no more")


def test_a_killed_process_is_reported_with_its_signal() -> None:
    """As the system does when memory runs out; what it had sent is kept."""
    end = end_of(job("die"))
    assert end.exit_code == -signal.SIGKILL
    assert end.error == "its process was ended by signal 9 (status -9); memory may have run out"
    assert end.documents == ({"number": 0},)


def test_status_0_without_an_end_has_failed() -> None:
    """A process that left behind our back gave no result, whatever its status."""
    end = end_of(job("leave"))
    assert end.exit_code == 1
    assert end.error is not None
    assert "status 0" in end.error


def test_the_others_go_on_after_a_failure() -> None:
    """Five jobs, two at once, two of them failures: every one has an end."""
    names = ["die", "count", "refuse", "count", "tell"]
    jobs = [job(name, f"{name}{place}", n=1) for place, name in enumerate(names)]
    ends = {end.job.key: end.error is None for end in run_jobs(jobs, at_once=2)}
    assert ends == {"die0": False, "count1": True, "refuse2": False, "count3": True, "tell4": True}


def test_those_that_train_together_end_with_the_one_that_fails() -> None:
    """Its end is the first that is told; the others, deaf to SIGTERM or not begun yet, are killed or left out."""
    jobs = [job("sleep", "a", seconds=60, deaf=True), job("die", "b"), job("sleep", "c", seconds=60)]
    ends = run_jobs(jobs, at_once=3, wait_for_another=True)
    assert ends[0].job.key == "b"
    assert {end.job.key: end.exit_code for end in ends} == dict.fromkeys("abc", -signal.SIGKILL)
    assert [end.job.key for end in run_jobs(jobs[1:], wait_for_another=True)] == ["b"]


def test_no_more_run_at_once_than_asked_and_company_is_told() -> None:
    """Three sleepers two at a time: never three running; the last one begins in company, too."""
    most = 0

    def watch(progress: JobsProgress) -> None:
        nonlocal most
        most = max(most, len(progress.running))

    jobs = [job("sleep", key, seconds=seconds) for key, seconds in (("a", 0.2), ("b", 0.8), ("c", 0.1))]
    ends = run_jobs(jobs, at_once=2, on_progress=watch)
    assert most <= 2
    assert not any(end.alone for end in ends)
    assert all(end.alone for end in run_jobs(jobs[:2]))


def test_progress_counts_every_job_once() -> None:
    """Ended, running and waiting add up, and an end is told after it was stored."""
    stored: list[str] = []
    seen: list[JobsProgress] = []

    def watch(progress: JobsProgress) -> None:
        assert progress.last is None or progress.last.job.key in stored
        seen.append(progress)

    jobs = [job("count", key, n=1) for key in "abc"]
    run_jobs(jobs, on_end=lambda end: stored.append(end.job.key), on_progress=watch)
    assert stored == ["a", "b", "c"]
    assert [one.num_ended for one in seen if one.last is not None] == [1, 2, 3]
    assert all(one.num_ended + len(one.running) + one.num_waiting <= 3 for one in seen)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_and_keeps_what_ended(number: signal.Signals) -> None:
    """Ctrl-C or SIGTERM in the second job: the first was told, the second is gone, the third never began."""
    ended: list[str] = []
    pids: list[int] = []

    def hear(one: ChildJob, document: dict[str, Any]) -> None:
        if one.key == "b":
            pids.append(document["pid"])
            os.kill(os.getpid(), number)

    jobs = [job("count", "a", n=1), job("sleep", "b", seconds=60), job("sleep", "c", seconds=60)]
    before = signal.getsignal(signal.SIGTERM)
    asked = signal.signal(signal.SIGINT, signal.default_int_handler)  # the background of a script ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            run_jobs(jobs, on_document=hear, on_end=lambda end: ended.append(end.job.key))
    finally:
        signal.signal(signal.SIGINT, asked)
    assert ended == ["a"]
    assert wait_until_gone(pids[0])
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_process_deaf_to_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the patience, here a tenth of a second."""
    monkeypatch.setattr(processes, "STOP_S", 0.1)
    pids: list[int] = []

    def hear(_: ChildJob, document: dict[str, Any]) -> None:
        pids.append(document["pid"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs([job("sleep", seconds=60, deaf=True)], on_document=hear)
    assert wait_until_gone(pids[0])


def test_a_callback_that_fails_stops_what_runs() -> None:
    """A full disk while a result is stored, for example."""

    def store(end: JobEnd) -> None:
        raise OSError("full")

    began_s = time.monotonic()
    with pytest.raises(OSError, match="full"):
        run_jobs([job("count", n=1), job("sleep", seconds=60)], at_once=2, on_end=store)
    assert time.monotonic() - began_s < 30


def test_jobs_run_from_another_thread_too() -> None:
    """Signals are the main thread's; the rest works anywhere."""
    ends: list[JobEnd] = []
    thread = threading.Thread(target=lambda: ends.extend(run_jobs([job("count", n=2)])))
    thread.start()
    thread.join()
    assert [end.error for end in ends] == [None]


@pytest.mark.parametrize("environment", [None, {}])
def test_a_child_does_not_outlive_its_parent(environment: dict[str, str] | None, tmp_path: Path) -> None:
    """The parent is killed; the child, forked or fresh, notices and ends without finishing its work."""
    file = tmp_path / "file"
    program = (
        "import os, sys; sys.path.insert(0, 'tests')\n"
        "from hpt.run.processes import ChildJob, run_jobs\n"
        f"job = ChildJob(key='a', target='references.errands:sleep', environment={environment!r},\n"
        f"               arguments={{'seconds': 3, 'file': {str(file)!r}}})\n"
        "def hear(job, document):\n"
        "    print(document['pid'], flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "if __name__ == '__main__':\n"
        "    run_jobs([job], on_document=hear)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert wait_until_gone(int(done.stdout), 2.5)
    assert not file.exists()


@pytest.mark.parametrize("preload", [[], ["torch"]])
def test_torch_is_where_it_is_wanted(preload: list[str]) -> None:
    """The runner imports it neither here nor, unless it is named, in its jobs."""
    program = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from hpt.run.processes import ChildJob, run_jobs\n"
        "if __name__ == '__main__':\n"
        "    job = ChildJob(key='a', target='references.errands:tell', arguments={'word': 'a'})\n"
        f"    (end,) = run_jobs([job], preload={preload})\n"
        "    print('torch' in sys.modules, end.documents[0]['has_torch'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", str(bool(preload))]
