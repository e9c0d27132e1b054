"""What the trainer would cost on models that were not run: measured parts, scaled by what they depend on.

    arithmetic   forward, backward, probes             with floating-point operations
    memory       optimizer, trajectory, jump, snapshot with the number of weights
    neither      features, models, control             not at all

This is a projection, not a measurement: it takes the rates of a small model on this machine for those of a large one,
which uses the arithmetic units better and the caches worse.

Operations of a forward pass: two a weight and token, embeddings' look-ups left out, plus attention's two products of
(time x time) by layer, 4 x dim x time a token; the backward pass costs twice that (Kaplan et al., arXiv:2001.08361,
section 2.1).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

ARITHMETIC = ("forward", "backward", "probe")
MEMORY = ("optimizer", "trajectory", "jump", "snapshot")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """A GPT and its batch."""

    layers: int
    dim: int
    vocabulary: int
    context: int
    tokens_per_step: int
    seq_len: int

    @property
    def parameters(self) -> int:
        """Weights, the tied head counted once."""
        block = 12 * self.dim**2 + 13 * self.dim
        return (self.vocabulary + self.context) * self.dim + self.layers * block + 2 * self.dim

    @property
    def operations(self) -> float:
        """Floating-point operations of a full step."""
        weights = self.parameters - self.context * self.dim
        forward = 2.0 * weights + 4.0 * self.layers * self.dim * self.seq_len
        return 3.0 * forward * self.tokens_per_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Projected:
    """Projected seconds of one model.

    Attributes:
        plain_step_s: forward, backward, optimizer.
        update_s: an update of the trainer, all parts included.
        cost_ratio: the second over the first.
        jump_cost_ratio: jump and probe over the steps covered, relative to a plain step.
    """

    parameters: int
    tokens_per_step: int
    plain_step_s: float
    update_s: float
    cost_ratio: float
    jump_cost_ratio: float | None

    def to_document(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def project(measured: Sizes, target: Sizes, part_s: Mapping[str, float], covered_per_update: float) -> Projected:
    """Scale the parts of one model to another.

    Args:
        measured: the model that was profiled.
        target: the model asked about.
        part_s: seconds an update by part.
        covered_per_update: full steps covered by jumps for every update.
    """
    by_operations = target.operations / measured.operations
    by_weights = target.parameters / measured.parameters
    scaled = {part: seconds * _factor(part, by_operations, by_weights) for part, seconds in part_s.items()}
    plain_s = sum(scaled.get(part, 0.0) for part in ("forward", "backward", "optimizer"))
    update_s = sum(scaled.values())
    jump_s = scaled.get("jump", 0.0) + scaled.get("probe", 0.0)
    return Projected(
        parameters=target.parameters,
        tokens_per_step=target.tokens_per_step,
        plain_step_s=plain_s,
        update_s=update_s,
        cost_ratio=update_s / plain_s,
        jump_cost_ratio=jump_s / covered_per_update / plain_s if covered_per_update else None,
    )


def _factor(part: str, by_operations: float, by_weights: float) -> float:
    if part in ARITHMETIC:
        return by_operations
    return by_weights if part in MEMORY else 1.0
