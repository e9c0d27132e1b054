"""Where a step's time goes: overhead of a full step, time by phase and by part, and the speed-up that parts predict."""

from collections.abc import Sequence

from reports.comparisons import measured_arms
from reports.evidence import Evidence, Source
from reports.formatting import count, harmless, interval, percent, plain, ratio, seconds, table
from reports.kinds import COMPARISON
from reports.page import Links
from reports.training_runs import cells, part_shares, phase_rows, workload_of
from reports.tuning import BASELINES, Standing, of_pair


def by_workload(sources: Sequence[Source]) -> list[Source]:
    """The newest profile of each workload."""
    newest: dict[str, Source] = {}
    for one in sources:
        newest.setdefault(workload_of(one), one)
    return [newest[name] for name in sorted(newest)]


def overhead(source: Source, links: Links) -> str:
    """What a full step costs over the plain loop's, in a sentence."""
    facts = source.document
    return (
        f"With everything on that a full step needs and no jump allowed, a step of the trainer takes "
        f"{plain(float(facts['ratio']), 4)} times the plain loop's, 95 % interval "
        f"{interval(float(facts['ratio_low']), float(facts['ratio_high']))}, "
        f"median of {facts['blocks']} paired blocks of {facts['block_steps']} steps, torch with "
        f"{count(int(facts['threads']), 'thread')}; the plain step takes "
        f"{seconds(float(facts['plain_step_s']))} ({links.to(source)})."
    )


def phases(source: Source, links: Links) -> str:
    """Time by phase, a table."""
    rows = [
        [
            str(row["phase"]),
            f"{row['calls']:.0f}",
            seconds(float(row["call_s"])),
            percent(float(row["share"])),
            links.to(source),
        ]
        for row in phase_rows(cells(source))
    ]
    return table(["phase", "calls", "time a call", "share of the time", "source"], rows)


def parts(source: Source, links: Links) -> str:
    """Share of the time by part, a table."""
    rows = [[harmless(name), percent(share), links.to(source)] for name, share in part_shares(cells(source)).items()]
    return table(["part", "share of the time", "source"], rows)


def _baseline_name(source: Source, evidence: Evidence) -> str:
    """The baseline behind a profile's ratios, from the stored comparison they were taken from.

    A profile keeps the numbers and a path of its own day. Where several stored arms have these numbers, the least
    searched decides; where none has, nobody knows.
    """
    speed, workload = source.document["speed"], workload_of(source)
    found: list[Standing] = []
    for stored in evidence.of(COMPARISON) if speed["steps_ratio"] is not None else ():
        values = stored.document["workloads"].get(workload, {"arms": {}})
        for name, arm in measured_arms(values).items():
            ratios = [(arm["measures"][key] or {}).get("value") for key in ("steps_ratio", "wall_ratio")]
            if ratios == [speed["steps_ratio"], speed["wall_ratio"]]:
                found.append(of_pair(values, name))
    return BASELINES[max(found)] if found else "baseline, whose tuning is not stored"


def profile(source: Source, links: Links, evidence: Evidence) -> dict[str, str]:
    """Tables of one profile: parts, the speed-up model against measurement, projections."""
    document = source.document
    parts, speed, link = document["parts"], document["speed"], links.to(source)
    cost = parts["cost_ratio"]
    total = sum(parts["part_s"].values())
    rows = [[harmless(name), seconds(value), percent(value / total), link] for name, value in parts["part_s"].items()]
    model = [
        [
            "cost of an update over a plain step",
            ratio(parts["predicted_cost_ratio"]),
            f"{ratio(cost['value'])} {interval(cost['low'], cost['high'])}",
            link,
        ],
        [
            f"wall-clock ratio to the {_baseline_name(source, evidence)}",
            ratio(speed["predicted_wall_ratio"]),
            ratio(speed["wall_ratio"]),
            link,
        ],
        ["the same if every covered step were worth a full one", ratio(speed["nominal_wall_ratio"]), "-", link],
    ]
    projected = (document.get("projection") or {}).get("models") or {}
    projection = [
        [
            harmless(name),
            f"{one['parameters'] / 1e6:.0f} M",
            seconds(one["plain_step_s"]),
            ratio(one["cost_ratio"]),
            percent(one["jump_cost_ratio"]),
            link,
        ]
        for name, one in projected.items()
    ]
    return {
        "workload": harmless(workload_of(source)),
        "figure": f"parts_{workload_of(source)}",
        "parts": table(["part", "time an update", "share", "source"], rows),
        "model": table(["speed-up model", "predicted from the parts", "measured", "source"], model),
        "projection": table(["model", "weights", "plain step", "cost ratio", "covered step", "source"], projection),
        "reduction": f"A step that a jump covers costs {percent(parts['jump_cost_ratio'])} of a plain one (jump and "
        f"probe), {percent(parts['whole_cost_ratio'])} with everything the trainer adds ({link}); the original "
        f"claims a reduction by 70 % ({links.claim}).",
    }


def wall(source: Source, links: Links) -> str:
    """The documented run beside the plain one."""
    found = source.document["wall_ratio"]
    return (
        f"{source.document['steps']} updates of {harmless(source.document['workload'])} with the default "
        f"predictor take {ratio(float(found['median']))} the time of the plain run, 95 % interval "
        f"{interval(float(found['low']), float(found['high']))} over {len(source.document['pairs'])} pairs, and "
        f"end at {ratio(float(source.document['loss_ratio']))} its validation loss ({links.to(source)})."
    )
