"""Peak memory of training before it runs: `hpt.estimate_memory`.

Model, backward pass and optimizer are run on fake tensors, which have shapes and no bytes, so nothing is allocated and
no GPU is needed; every storage is followed from birth to death. Model and optimizer are copied and never changed, and
may be on the meta device.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves, tree_map_only

from hpt.config import HybridConfig
from hpt.errors import HptError, ModelError, UsageError
from hpt.memory import tracking
from hpt.memory.fakes import Fakes
from hpt.memory.fitting import CONTEXT_BYTES, budget_for, largest_batch, margin_of
from hpt.memory.phases import Peaks, Training, estimate_peaks
from hpt.memory.prediction import Copies
from hpt.memory.probe import limit_bytes
from hpt.optimizers.inner import InnerOptimizer

LossFunction = Callable[[torch.nn.Module, Any], torch.Tensor]
WEIGHTS = {"fp32": torch.float32, "bf16": None, "bf16-weights": torch.bfloat16}
"""Format of weights, gradients, moments and floating-point inputs; None: as they are."""
AUTOCAST = {"none": None, "bf16": torch.bfloat16, "fp16": torch.float16}
MAX_BATCH = 2**20
STANDING = (tracking.WEIGHTS, tracking.OPTIMIZER, tracking.TRAJECTORY)
"""What is there at any batch."""
LIMITS = (
    "not counted: CUDA context, cuBLAS and cuDNN workspaces, fragmentation (reserved above allocated), NCCL, graphs",
    "attention and autocast follow the CPU's rules: bf16 rows may be off by 15 % on a GPU, which keeps more in fp32",
    "the training step of a model whose code depends on values of tensors cannot be estimated",
)


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Peak memory of training on one device, in bytes.

    Attributes:
        total_bytes: the most there is at once.
        breakdown: of that moment, by what it is for; its sum is the total.
        phases: peak of each phase; FULL alone without prediction.
        host_bytes: pinned host memory that prediction takes beside the device.
        device: "cuda" or "cpu", whose allocator was followed.
        batch_size: length of the batch's first axis; 0 for a batch without tensors.
        margin_frac: by how much the memory taken may exceed it, from measurements; `fits` counts that.
        limits: what is not in it.
    """

    total_bytes: int
    breakdown: dict[str, int]
    phases: dict[str, int]
    host_bytes: int
    device: str
    batch_size: int
    margin_frac: float
    limits: tuple[str, ...] = LIMITS
    _total_at: Callable[[int], int] = field(repr=False, compare=False, default=lambda _: 0)

    @property
    def least_budget_bytes(self) -> int:
        """The smallest device that is enough, with the margin and, on a GPU, what is assumed for its context."""
        return self._budget_for(self.total_bytes)

    def _budget_for(self, peak_bytes: int) -> int:
        return budget_for(peak_bytes, self.margin_frac, CONTEXT_BYTES if self.device == "cuda" else 0)

    def fits(self, device_or_bytes: "torch.device | str | float") -> bool:
        """Whether a device of so many bytes is enough; of a device, all of its memory counts.

        Raises:
            DeviceError: the device is not there.
        """
        return self.least_budget_bytes <= _budget(device_or_bytes)

    def largest_batch(self, budget_bytes: float) -> int:
        """The largest batch that `fits` so many bytes, up to a million; 0 where not even one sample does.

        A few further estimates, each of which takes as long as the first.

        Raises:
            UsageError: the batch has no tensor with an axis that could be longer.
        """
        if not self.batch_size:
            raise UsageError("the batch holds no tensor with an axis, so it cannot be made larger; pass one that does")
        if self._budget_for(sum(self.breakdown[name] for name in STANDING)) > budget_bytes:
            return 0
        wanted = self.batch_size
        known = {wanted: self.total_bytes}

        def needed(size: int) -> int:
            if size not in known:
                known[size] = self._total_at(size)
            return self._budget_for(known[size])

        while wanted < MAX_BATCH and needed(wanted) <= budget_bytes:
            wanted = min(2 * wanted, MAX_BATCH)
        return largest_batch(needed, budget_bytes, wanted)


def estimate_memory(
    model: torch.nn.Module,
    batch: Any,
    optimizer: Optimizer | Sequence[Optimizer],
    loss_fn: LossFunction | None = None,
    *,
    trainer: HybridConfig | None = None,
    dtype: str | None = None,
    device: str | torch.device = "cuda",
) -> MemoryEstimate:
    """Peak memory of training a model, without allocating it and without the device.

    Args:
        model: any module, on any device, the meta device included; it is copied.
        batch: what `loss_fn` takes, of any size; its first axis is that of samples.
        optimizer: or a list of them, over the model's parameters; copied.
        loss_fn: (model, batch) -> scalar tensor, which uses the model it is given; None: the model is called on the
            batch (a mapping by names, a tuple or list by position) and returns the loss, or an object with `loss`.
        trainer: settings under which HybridTrainer trains it, accumulation, clipping and precision among them; None: a
            plain loop without any.
        dtype: "fp32", "bf16" (autocast; weights and moments stay as they are) or "bf16-weights" (weights, gradients,
            moments and floating-point inputs); None: as the model is, with the autocast of `trainer`.
        device: whose allocator is followed, "cuda" or "cpu".

    Raises:
        UsageError: `dtype` or `device` is none of these.
        ModelError: model or optimizer cannot be copied, or its step cannot be run on fake tensors.
    """
    kind = torch.device(device).type
    if kind not in {"cuda", "cpu"}:
        raise UsageError(f"device is {str(device)!r}, whose allocator is not known; give cuda or cpu")
    if dtype is not None and dtype not in WEIGHTS:
        raise UsageError(f"dtype is {dtype!r}, it must be one of {', '.join(WEIGHTS)}; choose one of them")
    inner = InnerOptimizer(cast("Any", optimizer), model)
    problem = _Problem(model, inner, loss_fn or loss_of_output, trainer, dtype, kind)
    peaks = problem.peaks(batch)
    largest, on_host = peaks.largest, problem.copies
    host_bytes = 0 if on_host is None or on_host.snapshot_here else peaks.snapshot_bytes
    host_bytes += 0 if on_host is None or on_host.trajectory_here else peaks.trajectory_bytes
    return MemoryEstimate(
        total_bytes=largest.peak_bytes,
        breakdown=dict(largest.categories),
        phases={name: one.peak_bytes for name, one in peaks.phases.items()},
        host_bytes=host_bytes,
        device=kind,
        batch_size=_batch_size(batch),
        margin_frac=margin_of(model, kind),
        _total_at=lambda size: problem.peaks(_resized(batch, size)).largest.peak_bytes,
    )


def loss_of_output(model: torch.nn.Module, batch: Any) -> torch.Tensor:
    """The loss that a model computes itself.

    Raises:
        ModelError: it computes none.
    """
    if isinstance(batch, Mapping):
        output: Any = model(**batch)
    else:
        output = model(*batch) if isinstance(batch, (tuple, list)) else model(batch)
    loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", output)
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        found = f"a tensor {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else f"a {type(output).__name__}"
        raise ModelError(f"the model returned {found} and no loss; pass loss_fn, (model, batch) -> scalar tensor")
    return loss


def as_on_cuda(optimizer: Optimizer) -> Optimizer:
    """Make it do on the CPU what torch makes it do on CUDA where nobody chose: a whole list of tensors at a time."""
    for group in optimizer.param_groups:
        if group.get("foreach", True) is None and not group.get("fused") and not group.get("differentiable"):
            group["foreach"] = True
    return optimizer


@dataclass(frozen=True, slots=True)
class _Problem:
    """A training problem of the caller's, and how it is to be trained."""

    model: torch.nn.Module
    optimizer: InnerOptimizer
    loss: LossFunction
    config: HybridConfig | None
    dtype: str | None
    device: str

    @property
    def copies(self) -> Copies | None:
        """Of the weights, as the trainer keeps them."""
        config = self.config
        if config is None or config.predictor == "none":
            return None
        on_host = self.device == "cpu"
        here = on_host or config.trajectory.device == "device"
        return Copies(here, here, half=config.trajectory.format == "bf16")

    def peaks(self, batch: Any) -> Peaks:
        """For that batch.

        Raises:
            ModelError: the step cannot be run.
        """
        before = [one.grad for one in self.model.parameters()]
        try:
            return estimate_peaks(partial(self._training, batch), for_cuda=self.device == "cuda")
        except HptError:
            raise
        except Exception as error:
            raise ModelError(
                f"the training step cannot be run on fake tensors ({type(error).__name__}: {_first_line(error)}); "
                "its code must not depend on values of tensors, and make new ones on the device of others"
            ) from error
        finally:
            self._refuse_changed(before)

    def _training(self, batch: Any) -> Training:
        fakes = Fakes(WEIGHTS.get(self.dtype or "bf16"))
        model = fakes.model(self.model)
        optimizers = [fakes.optimizer(one) for one in self.optimizer.each]
        if self.device == "cuda":
            optimizers = [as_on_cuda(one) for one in optimizers]
        settings = self._settings()
        return Training(
            model=model,
            optimizer=InnerOptimizer(optimizers),
            batch=fakes.batch(batch),
            loss=self.loss,
            copies=self.copies,
            **settings,
        )

    def _settings(self) -> dict[str, Any]:
        config = self.config or HybridConfig()
        full, probe = (config.precision.phases.get(phase, config.precision.autocast) for phase in ("full", "predict"))
        if self.dtype is not None:
            full = probe = "bf16" if self.dtype == "bf16" else "none"
        return {
            "autocast": AUTOCAST[full],
            "probe_autocast": AUTOCAST[probe],
            "clip_norm": config.update.clip_norm,
            "accumulation_steps": config.update.accumulation_steps,
        }

    def _refuse_changed(self, before: Sequence[torch.Tensor | None]) -> None:
        """Put back gradients that came to the caller's own model.

        Raises:
            ModelError: there were some.
        """
        own = list(zip(self.model.parameters(), before, strict=True))
        if all(parameter.grad is grad for parameter, grad in own):
            return
        for parameter, grad in own:
            parameter.grad = grad
        raise ModelError("loss_fn calls a model of its own instead of the one it is given; use its first argument")


def _budget(device_or_bytes: "torch.device | str | float") -> float:
    is_device = isinstance(device_or_bytes, (torch.device, str))
    return limit_bytes(device_or_bytes) if is_device else device_or_bytes


def _batch_size(batch: Any) -> int:
    return next((len(one) for one in tree_leaves(batch) if isinstance(one, torch.Tensor) and one.ndim), 0)


def _resized(batch: Any, size: int) -> Any:
    """The batch with another number of samples, in tensors without values."""
    present = _batch_size(batch)

    def resized(tensor: torch.Tensor) -> torch.Tensor:
        is_by_sample = tensor.ndim > 0 and len(tensor) == present
        return tensor.new_empty((size, *tensor.shape[1:]), device="meta") if is_by_sample else tensor

    return tree_map_only(torch.Tensor, resized, batch)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")
