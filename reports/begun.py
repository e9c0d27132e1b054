"""The command that begins a stored comparison, where it was finished by one that only continued it."""

import shlex

from hpt.compare.arms import BASELINE
from hpt.compare.suite import BUDGETS
from hpt.optimizers.catalogue import OWN
from hpt_reports.kind import Document

RESUME, OUT = "--resume", "--out"
CPU, NO_AUTOCAST = "cpu", "none"
TRIED = frozenset({"tuned", "cached"})


def beginning(comparison: Document) -> str:
    """The stored command; where it goes on with what was asked before, all that was asked, as of a summary.json."""
    words = shlex.split(comparison["command"])
    if RESUME not in words or not {"tasks", "arms"} <= set(comparison["settings"]):
        return comparison["command"]
    return shlex.join([*words[:2], *_asked(comparison), *_folder(words)])


def _folder(words: list[str]) -> list[str]:
    return words[words.index(OUT) :][:2] if OUT in words else []


def _asked(comparison: Document) -> list[str]:
    settings, budget = comparison["settings"], BUDGETS.get(comparison["settings"]["budget"])
    tasks = {one["workload"]: one["steps"] for one in settings["tasks"]}
    optimizers = [one for one in settings.get("optimizers", ()) if one != OWN]
    is_whole = budget is not None and tasks == {one.workload: one.steps for one in budget.tasks}
    first, device, dtype = min(settings["seeds"]), settings["device"], settings.get("dtype") or NO_AUTOCAST
    flags = {
        "--budget": settings["budget"],
        "--workloads": None if is_whole else ",".join(f"{name}={steps}" for name, steps in tasks.items()),
        "--arms": ",".join(one for one in settings["arms"] if one != BASELINE),
        "--optimizers": ",".join(optimizers) or None,
        "--first-seed": first or None,
        "--seeds": len(settings["seeds"]),
        "--device": None if device == CPU else device,
        "--dtype": None if dtype == NO_AUTOCAST else dtype,
        "--threads": None if settings["threads"] == 1 else settings["threads"],
        "--data": settings.get("data"),
    }
    asked = [word for flag, value in flags.items() if value is not None for word in (flag, str(value))]
    return [*asked, *(["--tune"] if _is_tuned(comparison) else [])]


def _is_tuned(comparison: Document) -> bool:
    arms = (arm for workload in comparison["workloads"].values() for arm in workload["arms"].values())
    return any((arm["tuned"] or {}).get("source") in TRIED for arm in arms)
