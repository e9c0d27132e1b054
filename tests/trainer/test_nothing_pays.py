"""Never hurts: where no policy is worth anything the run is the plain loop, and costs what it costs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from references.forking_prior import forking_prior
from references.problems import teacher, weights_of

from hpt.jump.policy import NUM_POLICIES
from hpt.records import DecisionRecord, Record

STEPS = 400
SETTINGS: dict[str, Any] = {"full_steps": 10, "warmup_steps": 20, "gate": "always"}


@pytest.mark.parametrize("predictor", ["rssm", "ridge"])
def test_a_run_in_which_nothing_pays_is_the_plain_loop(tmp_path: Path, predictor: str) -> None:
    """Under a belief that every policy loses for certain: the same bits, the same work, one decision that says why."""
    plain, problem, records = teacher(total=STEPS), teacher(total=STEPS), list[Record]()
    plain.run(plain.trainer(predictor="none"), STEPS)
    with forking_prior(tmp_path, means=[-0.3] * NUM_POLICIES, spread=1e-4):
        trainer = problem.trainer(records, predictor=predictor, **SETTINGS)
        problem.run(trainer, STEPS)
    counters = trainer.summary()["counters"]
    assert torch.equal(weights_of(problem.model), weights_of(plain.model))
    assert counters["full_step_equivalents"] == STEPS
    (decision,) = [one for one in records if isinstance(one, DecisionRecord)]
    assert decision.policy == "none"
    assert decision.why.startswith("no jumps: ")
