"""PREDICT: one weight delta in place of many steps, without a backward pass.

The proposal is shortened to the trust region, the loss is probed, the delta is added in place, the loss is probed
again, and a blow-up is undone. A moderate rise is no reason to reject: good jumps cost a little at first.
"""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from hpt.control.rise import RiseBound
from hpt.learned.facts import CycleFacts
from hpt.memory.offload import Offload
from hpt.numerics.distance import moved, shorten
from hpt.predictors.guarded import GuardedPredictor
from hpt.predictors.protocol import Predictor, Proposal
from hpt.trainer.full_step import FullStep
from hpt.trainer.ledger import Ledger
from hpt.trainer.probe import Probe
from hpt.trainer.snapshot import Snapshot
from hpt.trainer.trajectory import Trajectory


@dataclass(frozen=True, slots=True)
class Jump:
    """What became of one proposal.

    Attributes:
        proposal: as it came from the predictor.
        coefficients: as applied, inside the trust region.
        norm: |weight delta|.
        norm_ratio: norm over |displacement of the last cycle|.
        loss: loss on this call's batch after the call.
        loss_before: paired probe before the jump; None if the budget allowed none.
        loss_after: probe after it.
        kept: still applied.
        reason: why not, or "" if kept.
    """

    proposal: Proposal
    coefficients: dict[str, float]
    norm: float
    norm_ratio: float
    loss: float
    loss_before: float | None
    loss_after: float
    kept: bool
    reason: str


class PredictStep:
    """Carries out proposals on the weights."""

    def __init__(
        self,
        full: FullStep,
        trajectory: Trajectory,
        probe: Probe,
        rise: RiseBound,
        ledger: Ledger,
        max_ratio: float,
        offload: Offload | None = None,
    ) -> None:
        self._full = full
        self._trajectory = trajectory
        self._probe = probe
        self._rise = rise
        self._ledger = ledger
        self._max_ratio = max_ratio
        self._offload = offload

    def bounded(self, proposal: Proposal, facts: CycleFacts, predictor: Predictor) -> tuple[dict[str, float], float]:
        """Coefficients shortened to |jump| <= max_ratio |d|, and the resulting |jump|."""
        own = self.own_of(predictor, facts)
        norm = self._trajectory.norm_of(proposal.coefficients, facts, own)
        limit = self._max_ratio * facts.displacement_norm
        if not math.isfinite(norm) or norm <= limit:
            return dict(proposal.coefficients), norm
        return {name: factor * limit / norm for name, factor in proposal.coefficients.items()}, limit

    def own_of(self, predictor: Predictor, facts: CycleFacts) -> Any:
        """The predictor's own direction as a function of parameter index and parameter."""
        return partial(_own_direction, predictor, self._full.optimizer, facts.displacement_norm)

    def apply(
        self, proposal: Proposal, coefficients: dict[str, float], facts: CycleFacts, predictor: Predictor
    ) -> None:
        """Add the weight delta in place; tied weights once, frozen ones and buffers never."""
        self._trajectory.apply(coefficients, self.own_of(predictor, facts), proposal.group_factors)
        self._ledger.lap("jump")

    def move(
        self,
        proposal: Proposal,
        facts: CycleFacts,
        predictor: Predictor,
        snapshot: Snapshot,
        share: float = 1.0,
    ) -> tuple[dict[str, float], float]:
        """Go `share` of the proposed way, within the trust region, from the weights of `snapshot`, where they are.

        Returns:
            Coefficients and |delta| as they came to be.
        """
        bounded, norm = self.bounded(proposal, facts, predictor)
        coefficients = {name: share * factor for name, factor in bounded.items()}
        if not self._trajectory.matrices or not any(name.startswith("O") for name in coefficients):
            self.apply(proposal, coefficients, facts, predictor)
            return coefficients, share * norm
        self._ledger.counters.factor_flops += self._trajectory.factor_flops
        parameters = self._trajectory.parameters
        before = [snapshot.kept(parameter) for parameter in parameters]
        self.apply(proposal, coefficients, facts, predictor)
        norm, limit = moved(parameters, before), share * self._max_ratio * facts.displacement_norm
        if norm > limit:
            shorten(parameters, before, limit / norm)
            coefficients, norm = {name: factor * limit / norm for name, factor in coefficients.items()}, limit
        self._ledger.lap("jump")
        return coefficients, norm

    def run(
        self,
        batch: Any,
        proposal: Proposal,
        facts: CycleFacts,
        predictor: Predictor,
        snapshot: Snapshot,
    ) -> Jump:
        """Probe, jump, probe; keep or undo.

        Raises:
            Exception: whatever the user's loss function raises; the weights are then as before the call.
        """
        self._ledger.counters.jumps_proposed += 1
        paired = self._probe.affords_pair()
        batches = self._probe.batches(batch, paired=paired)
        try:
            with self._optimizer_away(proposal.coefficients):
                before = self._probe.losses(batches) if paired else None
                self._ledger.lap("probe")
                coefficients, norm = self.move(proposal, facts, predictor, snapshot)
                after = self._probe.losses(batches)
                self._ledger.lap("probe")
        except BaseException:
            # Also on Ctrl-C: a half-applied jump must never be left behind.
            snapshot.restore()
            raise
        failed = isinstance(predictor, GuardedPredictor) and predictor.failed
        reason = "the predictor failed inside the jump" if failed else self._objection(before, after)
        if reason:
            snapshot.restore()
            self._ledger.lap("snapshot")
        loss = after[0] if not reason or before is None else before[0]
        return Jump(
            proposal=proposal,
            coefficients=coefficients,
            norm=norm,
            norm_ratio=facts.norm_ratio(norm),
            loss=loss,
            loss_before=_mean(before) if before is not None else None,
            loss_after=_mean(after),
            kept=not reason,
            reason=reason,
        )

    def _optimizer_away(self, coefficients: Mapping[str, float]) -> AbstractContextManager[None]:
        """Inside, the optimizer's state is on the host, if that is asked for and no direction is made from it."""
        if self._offload is None or coefficients.get("own"):
            return nullcontext()
        entries = self._full.optimizer.state.values()
        return self._offload.away([one for entry in entries for one in entry.values() if isinstance(one, torch.Tensor)])

    def _objection(self, before: list[float] | None, after: list[float]) -> str:
        """Why the jump cannot stay: not finite, or a rise beyond the learned bound. Empty when it can."""
        if not all(math.isfinite(loss) for loss in after):
            return "loss is not finite after the jump"
        if before is None:
            return ""
        rise, bound = _mean(after) - _mean(before), self._rise.bound(_mean(before))
        return f"loss rose by {rise:.4g}, above the bound {bound:.4g}" if rise > bound else ""


def _own_direction(
    predictor: Predictor,
    optimizer: torch.optim.Optimizer,
    norm: float,
    index: int,
    parameter: torch.nn.Parameter,
) -> torch.Tensor:
    return predictor.own_direction(index, parameter, optimizer, norm)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
