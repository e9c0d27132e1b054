"""What the pages read of each kind of stored measurement; a file without it is refused by name when it is read."""

from collections.abc import Mapping
from typing import Any

from reports.shapes import POSITIVE, Each, Maybe, Rule

ENDS = {"low": Maybe(float), "high": Maybe(float)}
MACHINE = Maybe(
    {
        "memory_bytes?": Maybe(float),
        "commit?": Maybe(str),
        "is_dirty?": Maybe(bool),
        "commits?": Maybe([str]),
        "sources?": Maybe(Each(str)),
    }
)
TIMING = {
    "hpt_schema": int,
    "hpt_preset?": str,
    "hpt_threads?": int,
    "hpt_num_units?": Rule(int, lambda units: units > 0, "above 0"),
    "hpt_commit?": str,
    "hpt_per_unit_multiply-add?": float,
    "hpt_per_unit_update?": float,
}
"""Metadata of a scenario."""
SESSION = {"machine": Rule(MACHINE, bool, "a machine"), "failed?": Maybe(Each(object))}
"""machine.json beside the timings."""

_ARM = {
    "status?": object,
    "peak_bytes?": Maybe(float),
    "ratio?": Maybe(float),
    "growth?": Maybe({"per_step": float, "low": float, "high": float}),
    "step_s?": Maybe(float),
    "peak_by_phase?": Maybe(Each(Maybe(float))),
    "items?": Maybe(Each(Maybe(float))),
}
MEMORY = {
    "settings": {"model": str, "device": str},
    "arms": Each(_ARM),
    "drills": Each({"saved_bytes?": Maybe(float), "cost_s?": Maybe(float)}),
    "estimates": Each(
        Maybe({"plain_peak_bytes?": Maybe(float), "hybrid_peak_bytes?": Maybe(float), "ratio?": Maybe(float)})
    ),
    "checks": [{"name": str, "threshold": object, "evidence": object, "verdict": str, "value": Maybe(float)}],
    "environment?": MACHINE,
}
CALL_NUMBERS = ("call", "allocated_bytes", "reserved_bytes", "process_bytes", "peak_bytes")
CALL_COLUMNS = frozenset({"arm", "phase", *CALL_NUMBERS})
"""Columns of steps.csv beside a memory validation."""

_TRIAL = {"lr_factor": float, "shape": object, "memory": object, "loss": Maybe(float)}
_TUNED = {
    "recipe": {"lr_factor": float, "shape": object, "memory": Maybe(float)},
    "source": str,
    "bracket_closed?": Maybe(bool),
    "trials?": Maybe([_TRIAL]),
}
_RATIO = {"value": float, **ENDS}
_MEASURES = {
    "work_ratio": _RATIO,
    "steps_ratio": Maybe({"value": Maybe(float), **ENDS}),
    "wall_ratio": Maybe({"value": Maybe(float), **ENDS}),
    "loss_change": _RATIO,
    "backwards_saved_frac": Maybe(float),
    "peak_host_bytes": Maybe(float),
    "worst_seed": {"work_ratio": Maybe(float)},
    "num_diverged": int,
    "seeds": [object],
}
_CURVE = [(float, float, float, float)]
_METHOD = {"role": str, "tuned": Maybe(_TUNED), "measures": Maybe(_MEASURES)}
_MEASURED = {
    **_METHOD,
    "known_ratio": Maybe(POSITIVE),
    "judgement": {"verdict": str, "over_control": Maybe({"value": float})},
    "sentence": object,
    "curve": _CURVE,
    "reliability": Maybe([{"mean_confidence": float, "good_frac": float, "count": float}]),
}
_BASELINE = {"tuned": _TUNED, "lengths": [{"steps": float, "mean_loss": float}], "seed_sd": Maybe(float)}


def _arm(value: Any) -> Any:
    is_measured = isinstance(value, Mapping) and value.get("measures") is not None
    return _MEASURED if is_measured else _METHOD


def _has_full_length(workload: Mapping[str, Any]) -> bool:
    base = workload["baseline"]
    return base is None or any(one["steps"] == workload["steps"] for one in base["lengths"])


def _is_covered(comparison: Mapping[str, Any]) -> bool:
    return all(set(comparison["overall"]) <= set(one["arms"]) for one in comparison["workloads"].values())


_WORKLOAD = {
    "steps": float,
    "chance_loss": Maybe(float),
    "baseline": Maybe(_BASELINE),
    "baseline_curve": _CURVE,
    "arms": Each(_arm),
}
_OVERALL = {
    "role": str,
    "work_ratio": _RATIO,
    "steps_ratio": Maybe({"value": Maybe(float), **ENDS}),
    "judgement": {"verdict": object},
    "sentence": object,
}
COMPARISON = Rule(
    {
        "settings": {"budget": str, "device": str, "threads": float, "seeds": [object]},
        "failed?": Maybe(Each(object)),
        "workloads": Each(Rule(_WORKLOAD, _has_full_length, "a workload whose baseline ran at full length")),
        "overall": Each(_OVERALL),
    },
    _is_covered,
    "a comparison whose workloads have every arm of its `overall`",
)

_PROJECTED = {"parameters": float, "plain_step_s": float, "cost_ratio": float, "jump_cost_ratio": Maybe(float)}


def _name_of_workload(value: Any) -> Any:
    key = "workload" if isinstance(value, Mapping) and value.get("workload") else "name"
    return str if isinstance(value, str) else {key: str}


PROFILE = {
    "workload": _name_of_workload,
    "parts": {
        "part_s": Rule(Each(float), lambda parts: sum(parts.values()) > 0, "times that add up to more than 0"),
        "cost_ratio": _RATIO,
        "predicted_cost_ratio": Maybe(float),
        "jump_cost_ratio": Maybe(float),
        "whole_cost_ratio": Maybe(float),
    },
    "speed": {
        "steps_ratio": Maybe(float),
        "wall_ratio": Maybe(float),
        "predicted_wall_ratio": Maybe(float),
        "nominal_wall_ratio": Maybe(float),
    },
    "projection?": Maybe({"models?": Maybe(Each(_PROJECTED))}),
    "environment?": MACHINE,
}
TRAINING = {
    "workload": {"name": object},
    "config": {"predictor": object},
    "seed": object,
    "status": str,
    "counters?": Maybe({"full_step_equivalents?": Maybe(float)}),
    "environment?": MACHINE,
}

_SECONDS = Rule(Each(float), lambda times: sum(times.values()) > 0, "times that add up to more than 0")


def _cell(value: Any) -> Any:
    """Times are read of the default arm alone."""
    cell = {
        "arm": str,
        "seed": int,
        "final_loss": Maybe(float),
        "forks?": Maybe([{"step": object, "immediate": float, "value": float, "value_se": float, "kept_jump": object}]),
        "predictor?": Maybe({"scores?": Maybe(Each({"nll_mean": float}))}),
        "confidence?": Maybe({"brier?": Maybe(float), "base_rate_brier?": Maybe(float)}),
        "environment?": MACHINE,
    }
    if not isinstance(value, Mapping) or value.get("arm") != "default":
        return cell
    counters = {"steps_covered_by_jumps": float, "optimizer_updates": float}
    timed = {"seconds": {"phase": _SECONDS, "part": _SECONDS}, "phases": Each(float), "counters": counters}
    return Rule(cell | timed, _times_every_phase, "a run that timed every phase it was in")


def _times_every_phase(cell: Mapping[str, Any]) -> bool:
    return all(phase in cell["seconds"]["phase"] for phase, calls in cell["phases"].items() if calls)


PREDICTION = {"workload": str, "steps": object, "threads": int, "cells": Rule([_cell], bool, "one run at least")}
OVERHEAD = {
    "workload": str,
    "ratio": float,
    "ratio_low": float,
    "ratio_high": float,
    "plain_step_s": float,
    "blocks": object,
    "block_steps": object,
    "threads": int,
}
WALL = {
    "workload": object,
    "steps": object,
    "wall_ratio": {"median": float, "low": float, "high": float},
    "loss_ratio": float,
    "pairs": Rule([{"rssm": {"environment?": MACHINE}, "none": object}], bool, "one pair at least"),
}
ALARMS = {
    "same_code": {"num_comparisons": object, "num_with_alarm": object},
    "planted": {"num_scenarios": object, "num_caught": object, "slowdown_frac": float},
}
SURVIVAL = {
    "steps": int,
    "healthy": [
        {
            "name": str,
            "killed": Maybe(str),
            "num_rollbacks": int,
            "num_unwarranted": int,
            "num_jumps": int,
            "num_jumps_undone": int,
            "num_jumps_undone_unwarranted": int,
            "final_loss": Maybe(float),
            "plain_final_loss": float,
            "events": Each(int),
        }
    ],
    "planted": [
        {
            "kind": str,
            "name": str,
            "run": str,
            "caught_after_losses": Maybe(int),
            "limit_losses": int,
            "killed": Maybe(str),
            "final_loss": Maybe(float),
            "healthy_final_loss": float,
        }
    ],
}
_STEP = {
    "name": object,
    "what": object,
    "command": object,
    "status": str,
    "exit_code": Maybe(int),
    "duration_s": Maybe(float),
    "tests?": Maybe(Each(int)),
}
RELEASE = {"steps": Rule([_STEP], bool, "one step at least")}
