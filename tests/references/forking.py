"""A predictor that forks where it is told to, and the slow twin of a branch: a loop that makes the jumps itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from references.problems import Problem

from hpt.jump.delta import WeightDelta
from hpt.jump.policy import NONE, POLICIES
from hpt.jump.stats import CycleStats
from hpt.learned.loss_trend import LossTrend
from hpt.predictors.nesterov import proposal_of
from hpt.predictors.protocol import BasePredictor, ForkOutcome, ForkRequest, Proposal

FULL = WeightDelta(pull_back=0.5, gain=2.0, scale=0.8)
"""What a policy of full gain jumps by."""


def best(outcome: ForkOutcome) -> str:
    """The policy of the largest positive value, else none."""
    policy = max(outcome.values, key=lambda name: outcome.values[name].value)
    return policy if outcome.values[policy].value > 0.0 else NONE


class Forking(BasePredictor):
    """Asks for a fork at the end of the first cycle at or after each of some updates.

    Args:
        at: net updates at which a fork is wanted, ascending.
        policies: tried in each.
        num_jumps: cycles with a jump.
        settle_steps: full steps after them.
        plays: policy at the ends of all other cycles.
        full: the delta of full gain, for all policies or by policy.
        settles: which branch goes on; the best by default.

    Attributes:
        outcomes: of the forks so far.
    """

    name = "forking"

    def __init__(
        self,
        at: Sequence[int],
        policies: Sequence[str] = ("half",),
        num_jumps: int = 1,
        settle_steps: int = 20,
        plays: str = NONE,
        full: WeightDelta | Mapping[str, WeightDelta] = FULL,
        settles: Callable[[ForkOutcome], str] = best,
    ) -> None:
        self.request = ForkRequest(tuple(policies), num_jumps, settle_steps)
        self.outcomes: list[ForkOutcome] = []
        self._due, self._plays, self._full, self._settles = list(at), plays, full, settles

    def propose(self, stats: CycleStats, trend: LossTrend, max_horizon: int) -> Proposal | ForkRequest | None:
        """The fork that is due, else the policy that is played."""
        if self._due and stats.step >= self._due[0]:
            self._due = self._due[1:]
            return self.request
        if self._plays == NONE:
            return None
        delta = self.policy_delta(self._plays, stats)
        return proposal_of(self.name, delta, stats.num_steps, max_horizon, self._plays)

    def policy_delta(self, policy: str, stats: CycleStats) -> WeightDelta:
        """The policy's share of the full delta."""
        full = self._full if isinstance(self._full, WeightDelta) else self._full[policy]
        return POLICIES[policy].delta(full)

    def settle(self, outcome: ForkOutcome) -> str:
        """Keep the outcome, and say which branch goes on."""
        self.outcomes.append(outcome)
        return self._settles(outcome)

    def state_dict(self) -> dict[str, Any]:
        """The forks still due."""
        return {"due": list(self._due)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._due = [int(one) for one in state["due"]]


@dataclass(frozen=True)
class HandJump:
    """-a d + g E on every parameter; matrices back to the norm they had if that is kept."""

    pull_back: float
    gain: float
    keeps_norm: bool

    def make(self, weights: torch.Tensor, start: torch.Tensor, trend: torch.Tensor, debias: float) -> None:
        """Change one parameter in place, given where it was at the cycle's start and its average displacement."""
        norm = torch.linalg.vector_norm(weights)
        weights.lerp_(start, self.pull_back)  # theta - a (theta - start)
        weights.add_(trend, alpha=self.gain * debias)
        if self.keeps_norm and weights.ndim > 1:
            weights.mul_(norm / torch.linalg.vector_norm(weights))


def run_by_hand(problem: Problem, num_steps: int, jumps: Mapping[int, HandJump], cycle_steps: int = 10) -> list[float]:
    """Losses (num_steps,) of a plain loop that jumps after the steps named, which are ends of cycles.

    With d the displacement over a cycle, E <- 0.8 E + 0.2 d, and a jump follows E / (1 - 0.8^k).
    """
    weights = [parameter.data for parameter in problem.model.parameters()]
    start, trend = [one.clone() for one in weights], [torch.zeros_like(one) for one in weights]
    losses: list[float] = []
    for step in range(1, num_steps + 1):
        problem.optimizer.zero_grad()
        loss = problem.loss_fn(problem.model, problem.batch(step - 1))
        loss.backward()
        problem.optimizer.step()
        if problem.scheduler is not None:
            problem.scheduler.step()
        losses.append(loss.item())
        if step % cycle_steps:
            continue
        debias = 1.0 / (1.0 - 0.8 ** (step // cycle_steps))
        for place, now in enumerate(weights):
            trend[place].lerp_(now - start[place], 1.0 - 0.8)
            if step in jumps:
                jumps[step].make(now, start[place], trend[place], debias)
            start[place].copy_(now)
    return losses
