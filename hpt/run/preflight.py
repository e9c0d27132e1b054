"""Before anything is measured: can every workload be made, with this data and on these seeds?"""

from collections.abc import Iterable, Sequence

from hpt.errors import HptError, OutOfMemory, PrerequisiteError, UsageError
from hpt.run.processes import ChildJob, run_jobs

TARGET = "hpt.workloads.registry:try_workloads"
_BY_CODE: dict[int, type[HptError]] = {one.exit_code: one for one in (UsageError, PrerequisiteError, OutOfMemory)}


def check_workloads(
    names: Iterable[str], *, seeds: Iterable[int], data: str | None, device: str, preload: Sequence[str] = ()
) -> None:
    """Make each workload once in a process of its own, on the smallest and on the largest seed.

    Args:
        names: of workloads, or package.module:factory.
        seeds: that will be trained on.
        data: the user's text.
        device: where it will be trained.
        preload: as for the jobs that follow, whose server of processes this one may start.

    Raises:
        UsageError: a workload is unknown, takes no data, or not this seed.
        PrerequisiteError: data or device is missing.
        HptError: the user's factory fails.
    """
    known = sorted(seeds)
    arguments = {"names": list(names), "seeds": [known[0], known[-1]], "data": data, "device": device}
    (end,) = run_jobs([ChildJob(key="preflight", target=TARGET, arguments=arguments)], preload=preload)
    if end.error is not None:
        raise _BY_CODE.get(end.exit_code, HptError)(end.error)
