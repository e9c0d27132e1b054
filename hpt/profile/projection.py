"""What the trainer would cost on models that were not run: measured components, scaled by what they depend on.

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

from hpt.profile.components import STEP_WORK, ComponentTimes
from hpt.workloads.gpt2 import SIZES
from hpt.workloads.language import LanguageWorkload
from hpt.workloads.transformer import GPTShape
from hpt.workloads.workload import Workload

ARITHMETIC = ("forward", "backward", "probe")
MEMORY = ("optimizer", "trajectory", "jump", "snapshot")


@dataclass(frozen=True, slots=True)
class GPTStep:
    """A GPT and the batch of one of its steps."""

    shape: GPTShape
    tokens_per_step: int
    seq_len: int

    @property
    def parameters(self) -> int:
        """Weights, the tied head counted once."""
        dim, block = self.shape.dim, 12 * self.shape.dim**2 + 13 * self.shape.dim
        return (self.shape.vocabulary + self.shape.context) * dim + self.shape.layers * block + 2 * dim

    @property
    def operations(self) -> float:
        """Floating-point operations of a full step."""
        weights = self.parameters - self.shape.context * self.shape.dim
        forward = 2.0 * weights + 4.0 * self.shape.layers * self.shape.dim * self.seq_len
        return 3.0 * forward * self.tokens_per_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Projected:
    """Projected seconds of one model.

    Attributes:
        parameters: weights; tokens_per_step: of its batch.
        plain_step_s: forward, backward, optimizer.
        update_s: an update of the trainer, all components included.
        cost_ratio: the second over the first.
        jump_cost_ratio: jump and probe over the steps covered, relative to a plain step; None without a jump.
    """

    parameters: int
    tokens_per_step: int
    plain_step_s: float
    update_s: float
    cost_ratio: float
    jump_cost_ratio: float | None


def project(measured: GPTStep, target: GPTStep, part_s: Mapping[str, float], covered_per_update: float) -> Projected:
    """Scale the components of one model to another.

    Args:
        measured: the model that was profiled.
        target: the model asked about.
        part_s: seconds an update by component.
        covered_per_update: full steps covered by jumps for every update.
    """
    by_operations = target.operations / measured.operations
    by_weights = target.parameters / measured.parameters
    factors: dict[str, float] = {**dict.fromkeys(ARITHMETIC, by_operations), **dict.fromkeys(MEMORY, by_weights)}
    scaled = {name: seconds * factors.get(name, 1.0) for name, seconds in part_s.items()}
    plain_s = sum(scaled.get(name, 0.0) for name in STEP_WORK)
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


def project_family(workload: Workload, times: ComponentTimes, tokens_per_step: int | None) -> dict[str, Any] | None:
    """Projected costs of the GPT-2 family; None where the profiled workload is no GPT.

    Args:
        workload: that was profiled.
        times: what it took.
        tokens_per_step: of the projected models; None: as profiled.
    """
    if not isinstance(workload, LanguageWorkload):
        return None
    setup = workload.setup
    measured = GPTStep(setup.shape, setup.batch_size * setup.seq_len, setup.seq_len)
    tokens = tokens_per_step or measured.tokens_per_step
    models: dict[str, Any] = {}
    for name, size in SIZES.items():
        if name != "gpt2-nano":
            target = GPTStep(size.shape(), tokens, min(tokens, size.shape().context))
            models[name] = asdict(project(measured, target, times.part_s, times.covered_per_update))
    return {"is_projection": True, "models": models}
