"""The plain loop asks for nothing and proposes nothing."""

from references.trajectory_facts import random_path

from hpt.config import HybridConfig
from hpt.predictors.none import NoJump


def test_it_never_proposes_and_keeps_no_copies() -> None:
    """No time scales, no past displacements, and None after every cycle."""
    predictor = NoJump(HybridConfig())
    path = random_path(0, 6)

    assert (predictor.name, predictor.scales, predictor.num_past) == ("none", (), 0)
    assert [predictor.propose(path.facts(cycle, progress=0.5), 75) for cycle in range(1, 7)] == [None] * 6
