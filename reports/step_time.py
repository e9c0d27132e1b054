"""Where a step's time goes: by phase, by part, for a step that a jump covers, and the speed-up that parts predict."""

from collections.abc import Mapping, Sequence
from typing import Any

from hpt_reports.comparisons import measured_arms
from hpt_reports.evidence import Evidence, Source
from hpt_reports.formatting import count, file_name, harmless, interval, percent, plain, ratio, seconds, table
from hpt_reports.inner_optimizers import beside
from hpt_reports.kinds import COMPARISON, OVERHEAD, PROFILE, TRAINING
from hpt_reports.page import Links
from hpt_reports.tuning import BASELINES, Standing, of_pair

STEP_WORK = ("forward", "backward", "optimizer")
PHASES = ("WARMUP", "FULL", "PREDICT", "CORRECT")


def full_overhead(evidence: Evidence, workload: str = "byte-gpt") -> Source | None:
    """The workload's with the fewest threads on a CPU, for which limits are set; of several the newest."""
    found = [one for one in evidence.of(OVERHEAD) if _device(one) == "cpu" and workload_of(one) == workload]
    return min(found, key=lambda source: int(source.document["threads"]), default=None)


def overheads_on_cpus(evidence: Evidence) -> list[Source]:
    """That of each workload, the default one first."""
    names = sorted({workload_of(one) for one in evidence.of(OVERHEAD)}, key=lambda name: (name != "byte-gpt", name))
    return [one for one in (full_overhead(evidence, name) for name in names) if one is not None]


def overheads_on_gpus(evidence: Evidence) -> list[Source]:
    """Those measured on a GPU, the newest first."""
    return [source for source in evidence.of(OVERHEAD) if _device(source) != "cpu"]


def _device_name(source: Source) -> str:
    return str((source.provenance.machine or {}).get("device_name") or "a GPU")


def _device(source: Source) -> str:
    return str((source.provenance.machine or {}).get("device", "cpu"))


def covered_step(evidence: Evidence, workload: str = "byte-gpt") -> tuple[float, Source] | None:
    """Cost of a step that a jump covers (jump and probes) over that of a full step, and where it was measured.

    From the newest profile of the workload that kept jumps; None without one.
    """
    for source in evidence.of(PROFILE):
        share = source.document["parts"]["jump_cost_ratio"]
        if workload_of(source) == workload and share is not None:
            return float(share), source
    return None


def workload_of(source: Source) -> str:
    """Name of the workload that was profiled."""
    return str(source.document["workload"])


def by_workload(sources: Sequence[Source]) -> list[Source]:
    """The newest profile of each workload."""
    newest: dict[str, Source] = {}
    for one in sources:
        newest.setdefault(workload_of(one), one)
    return [newest[name] for name in sorted(newest)]


def overhead(source: Source, links: Links) -> str:
    """What a full step costs over the plain loop's, in a sentence."""
    facts = source.document
    on_gpu = f" on {harmless(_device_name(source))}" if _device(source) != "cpu" else ""
    return (
        f"With everything on that a full step needs and no jump allowed, a step of the trainer on "
        f"{harmless(facts['workload'])}{on_gpu} takes "
        f"{plain(float(facts['ratio']), 4)} times the plain loop's, 95 % interval "
        f"{interval(float(facts['ratio_low']), float(facts['ratio_high']))}, "
        f"median of {facts['blocks']} paired blocks of {facts['block_steps']} steps, torch with "
        f"{count(int(facts['threads']), 'thread')}; the plain step takes "
        f"{seconds(float(facts['plain_step_s']))}{_more(facts)} ({links.to(source)})."
    )


def _more(facts: Mapping[str, Any]) -> str:
    """What the trainer's own work takes, where that is stored."""
    more = facts.get("difference_s")
    if more is None:
        return ""
    low, value, high = (seconds(float(more[name])) for name in ("low", "value", "high"))
    return f", the trainer's own work {value} more, 95 % interval [{low}, {high}]"


def own_time(evidence: Evidence, workload: str) -> tuple[float, float, float, Source] | None:
    """Seconds of the trainer's own work in a full step, with their interval; None where they were not measured."""
    source = full_overhead(evidence, workload)
    more = None if source is None else source.document.get("difference_s")
    if source is None or more is None:
        return None
    return float(more["value"]), float(more["low"]), float(more["high"]), source


def timed_run(evidence: Evidence) -> Source | None:
    """The newest training run that says where its time went."""
    return next((one for one in evidence.of(TRAINING) if all(_times(one).values())), None)


def _times(source: Source) -> dict[str, float]:
    """Seconds of a training run in all, by phase and by part."""
    found = source.document.get("seconds") or {}
    return {name: sum(found.get(name, {}).values()) for name in ("phase", "part")}


def run_times(source: Source, links: Links) -> dict[str, str]:
    """Of a training run: calls and time by phase, and the share of the time by part, the largest first."""
    facts, link, total = source.document, links.to(source), _times(source)
    calls, by_phase, by_part = facts.get("phases") or {}, facts["seconds"]["phase"], facts["seconds"]["part"]
    phase_rows = [
        {
            "phase": phase,
            "calls": str(calls[phase]),
            "time a call": seconds(by_phase[phase] / calls[phase]),
            "share of the time": percent(by_phase[phase] / total["phase"]),
        }
        for phase in PHASES
        if calls.get(phase) and phase in by_phase
    ]
    part_rows = [
        {"part": harmless(name), "share of the time": percent(value / total["part"])}
        for name, value in sorted(by_part.items(), key=lambda one: -one[1])
    ]
    return {
        "run": f"{harmless(facts['workload']['name'])}, {count(facts['settings']['steps'], 'update')}, predictor "
        f"{harmless(facts['config']['predictor'])} ({link})",
        "phases": table(phase_rows, link),
        "parts": table(part_rows, link),
    }


def _baseline_of(source: Source, evidence: Evidence) -> tuple[str, str]:
    """The baseline behind a profile's ratios, and the other optimizers, from the comparison they were taken from.

    A profile keeps the numbers and a path of its own day. Where several stored arms have these numbers, the least
    searched decides; where none has, nobody knows.
    """
    speed, workload = source.document["speed"], workload_of(source)
    found: dict[Standing, str] = {}
    for stored in evidence.of(COMPARISON) if speed["steps_ratio"] is not None else ():
        values = stored.document["workloads"].get(workload, {"arms": {}})
        for name, arm in measured_arms(values).items():
            ratios = [(arm["measures"][key] or {}).get("value") for key in ("steps_ratio", "wall_ratio")]
            if ratios == [speed["steps_ratio"], speed["wall_ratio"]]:
                found[of_pair(values, name)] = beside(stored, values, name)
    if not found:
        return "baseline, whose tuning is not stored", "whether another optimizer was tried is not stored"
    least = max(found)
    return BASELINES[least], found[least]


def profile(source: Source, links: Links, evidence: Evidence) -> dict[str, str]:
    """Tables of one profile: parts, the speed-up model against measurement, projections."""
    document, link = source.document, links.to(source)
    parts, speed, cost = document["parts"], document["speed"], document["parts"]["cost_ratio"]
    total = sum(parts["part_s"].values())
    measured = f"{ratio(cost['value'])} {interval(cost['low'], cost['high'])}"
    base, others = _baseline_of(source, evidence)
    model = {
        "cost of an update over a plain step": (parts["predicted_cost_ratio"], measured),
        f"wall-clock ratio to the {base}": (speed["predicted_wall_ratio"], f"{ratio(speed['wall_ratio'])}; {others}"),
        "the same if every covered step were worth a full one": (speed["nominal_wall_ratio"], "-"),
    }
    projected = (document.get("projection") or {}).get("models") or {}
    part_rows = [
        {"part": harmless(name), "time an update": seconds(value), "share": percent(value / total)}
        for name, value in parts["part_s"].items()
    ]
    model_rows = [
        {"speed-up model": name, "predicted from the parts": ratio(predicted), "measured": found}
        for name, (predicted, found) in model.items()
    ]
    projection_rows = [
        {
            "model": harmless(name),
            "weights": f"{one['parameters'] / 1e6:.0f} M",
            "plain step": seconds(one["plain_step_s"]),
            "cost ratio": ratio(one["cost_ratio"]),
            "covered step": percent(one["jump_cost_ratio"]),
        }
        for name, one in projected.items()
    ]
    return {
        "workload": harmless(workload_of(source)),
        "figure": f"parts_{file_name(workload_of(source))}",
        "parts": table(part_rows, link),
        "model": table(model_rows, link),
        "projection": table(projection_rows, link),
        "reduction": f"A step that a jump covers costs {percent(parts['jump_cost_ratio'])} of a plain one (jump and "
        f"probe), {percent(parts['whole_cost_ratio'])} with everything the trainer adds ({link}); the original "
        f"claims a reduction by 70 % ({links.claim}).",
    }
