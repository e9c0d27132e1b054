"""A value of the wrong type or size is refused where it is read, with field, value, rule and remedy."""

import pytest

from hpt.config import HybridConfig
from hpt.errors import ConfigError

WRONG = {
    "fork": [{"budget_frac": 0.01}],
    "learner.bandit": [True],
    "confidence_threshold": [0.5],
    "value.fork_budget_frac": [True, "0.1", [0.1], None, 0.6, -0.01, float("nan")],
    "value.model": ["bandit", None, 1, ["prior"]],
    "predict.policy": ["none", "third", True, 0.5, ["half"]],
    "seed": [1e20, 10**20, 2**63, -1, 0.5, True, None],
    "full_steps": [10**20, 10**9, 1, 1e20, [10], True],
    "max_predict_steps": [10**20, 10**9, 0, 1e3],
    "total_steps": [10**20, 0, 600.0],
    "warmup_steps": [10**20, -1, 1e20],
    "memory.cleanup_min_bytes": [10**20, 1e20],
    "memory.warn_at": [True, "90%", [0.9], float("nan")],
    "update.clip_norm": [True, "1", 0, float("inf")],
    "learner.enabled": [1, 0, "yes", None],
    "predictor": [3, None, ["rssm"], True],
    "predict": [0.8, [0.8], "ramp", None],
    "trajectory.scales": [0.8],
    "checkpoint.dir": [3, ["a"], True],
    "precision.phases": [{"ful": "bf16"}, {"predict": "same"}, {"full": None}, "bf16", None],
    "roles": [{"a": "tabel"}, {1: "table"}],
}
RIGHT = {
    "value.fork_budget_frac": [0, 0.0, 0.05, 0.5],
    "predict.policy": [None, "half", "half-kept", "full", "full-kept"],
    "seed": [0, 2**63 - 1],
    "full_steps": [5, 10**6],
    "memory.warn_at": [None, 0.5, 2, 10**12],
    "update.clip_norm": [None, 1, 1e300],
    "checkpoint.dir": [None, "a"],
    "precision.phases": [{}, {"warmup": "none", "predict": "bf16"}],
    "roles": [{}, {"any.name": "table"}],
}


def of(name: str, value: object) -> HybridConfig:
    group, _, field = name.rpartition(".")
    return HybridConfig.from_dict({group: {field: value}} if group else {field: value})


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_nonsense_is_refused_and_named(name: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        of(name, value)
    assert name.rpartition(".")[2] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in RIGHT.items() for value in values])
def test_sense_is_taken_as_it_is(name: str, value: object) -> None:
    group, _, field = name.rpartition(".")
    stored = of(name, value).to_dict()
    found = (stored[group] if group else stored)[field]
    assert found == value
