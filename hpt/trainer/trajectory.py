"""The weights' path: where the cycle began, and one moving average of cycle displacements a time scale.

With theta_start the weights at the start of a cycle and K full steps in it,

    d = theta - theta_start            E_mu <- mu E_mu + (1 - mu) d            E^ = E_mu / (1 - mu^k)

and a jump is a sum of coefficient x direction over d, the E^ and, for some published baselines, earlier
displacements. In the form j = -a d + g E^ this is periodic outer Nesterov on cycle displacements (SNOO,
arXiv:2510.15830; DiLoCo with one worker, arXiv:2311.08105). O^, the orthogonal factor of each matrix of E^ at equal
norm, is made when it is applied and never stored. Memory: (1 + scales + kept displacements) x P.

Everything runs tensor by tensor and in place, so no parameter moves and the largest temporary is one tensor, or
the few that an orthogonal factor of one takes.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from hpt.learned.facts import CycleFacts, FloatArray
from hpt.memory.offload import wait_for
from hpt.numerics.formats import compute_dtype, storage_dtype
from hpt.numerics.orthogonal import factor_flops, has_factor, orthogonal_factor
from hpt.numerics.tensors import add_, copy_, lerp_
from hpt.trainer.inner_products import after_update, chunks_of, dots, gram_of, joined

OwnDirection = Callable[[int, torch.nn.Parameter], torch.Tensor]
Kept = Callable[[torch.nn.Parameter], torch.Tensor]


class Trajectory:
    """Displacements of the trained parameters, by parameter group.

    Args:
        groups: trained parameters of each optimizer group, every parameter once.
        scales: EMA decays over cycles.
        num_past: past displacements to keep.
        placement: "device", "cpu" (pinned when the parameters are on CUDA), "bf16" (on the device, half the bytes),
            or "auto" (device on CPU, cpu on CUDA).
        embeddings: parameters that are tables of rows; they have no orthogonal factor of interest.

    Attributes:
        matrices: places of the parameters that "O<mu>" follows by their orthogonal factor.
        factor_flops: floating-point operations of making these factors once.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[torch.nn.Parameter]],
        scales: tuple[float, ...],
        num_past: int = 0,
        placement: str = "auto",
        embeddings: Collection[torch.Tensor] = (),
    ) -> None:
        self.scales = scales
        self.num_past = num_past
        self.num_cycles = 0
        self.parameters = [parameter for group in groups for parameter in group]
        tables = {id(parameter) for parameter in embeddings}
        self.matrices = [i for i, one in enumerate(self.parameters) if has_factor(one) and id(one) not in tables]
        self.factor_flops = sum(factor_flops(self.parameters[index].shape) for index in self.matrices)
        self._others = sorted({*range(len(self.parameters))} - {*self.matrices})
        self._group_of = [index for index, group in enumerate(groups) for _ in group]
        self._num_groups = len(groups)
        self._members = [[i for i, of in enumerate(self._group_of) if of == group] for group in range(len(groups))]
        self._placement = placement
        self._start = [self._copy_of(parameter) for parameter in self.parameters]
        self._emas = [[torch.zeros_like(start) for start in self._start] for _ in scales]
        self._past: list[list[torch.Tensor]] = []
        self._is_direct = self._stored_like_parameters()
        pairs = zip(self._group_of, self.parameters, self._start, strict=True)
        kinds = [(group, one.device, one.dtype, start.device, start.dtype) for group, one, start in pairs]
        self._chunks = chunks_of([start.numel() for start in self._start], kinds)

    def _stored_like_parameters(self) -> bool:
        """No copy lies elsewhere or in another format than its parameter, so they can be added as they are."""
        pairs = zip(self._start, self.parameters, strict=True)
        return all(start.device == one.device and start.dtype == one.dtype for start, one in pairs)

    def _copy_of(self, parameter: torch.nn.Parameter) -> torch.Tensor:
        on_cuda = parameter.device.type == "cuda"
        to_host = self._placement == "cpu" or (self._placement == "auto" and on_cuda)
        stored = storage_dtype(parameter.dtype, half=self._placement == "bf16")
        copy = parameter.detach().to(dtype=stored, device="cpu" if to_host else parameter.device, copy=True)
        return copy.pin_memory() if to_host and on_cuda else copy

    @property
    def nbytes(self) -> int:
        """Bytes held, all copies together."""
        held = [self._start, *self._emas, *self._past]
        return sum(tensor.nbytes for tensors in held for tensor in tensors)

    @torch.no_grad()
    def end_cycle(self, step: int, num_steps: int, progress: float | None, lr_frac: float) -> CycleFacts:
        """Take the displacement of the cycle that just ended into the averages; return all inner products.

        The cycle's start is kept until `begin_cycle`, because a jump may still need d.
        """
        self.num_cycles += 1
        newest: list[torch.Tensor] = []
        past_rows: list[torch.Tensor] = []
        grams: list[torch.Tensor] = []
        for places in self._chunks:
            start = joined([self._start[index] for index in places])
            dtype = compute_dtype(start.dtype)
            theta = joined([self.parameters[index].detach() for index in places]).to(start.device, dtype)
            d = theta - start
            averages = [[scale[index] for index in places] for scale in self._emas]
            grams.append(gram_of([d, *(joined(scale).to(dtype) for scale in averages), theta]))
            parts = _split_like(d, averages[0] if averages else [self._start[index] for index in places])
            for mu, scale in zip(self.scales, averages, strict=True):
                lerp_(scale, [part.to(one.dtype) for part, one in zip(parts, scale, strict=True)], 1.0 - mu)
            if self.num_past:
                past_rows.append(dots([d, *(joined([past[i] for i in places]) for past in self._past)], d))
                newest += [part.clone() for part in parts] if len(parts) > 1 else parts
        if self.num_past:
            self._past = [newest, *self._past][: self.num_past]
        per_chunk = torch.stack([gram.cpu().to(torch.float64) for gram in grams]).numpy()
        return CycleFacts(
            cycle=self.num_cycles,
            step=step,
            num_steps=num_steps,
            progress=progress,
            lr_frac=lr_frac,
            scales=self.scales,
            past_gram=self._past_gram(past_rows),
            **self._by_group(per_chunk),
        )

    def _by_group(self, grams: FloatArray) -> dict[str, Any]:
        """Sum each group's inner products and apply the bias corrections: of the new averages, and of the old ones."""
        sums = np.zeros((self._num_groups, *grams.shape[1:]))
        np.add.at(sums, np.array([self._group_of[places[0]] for places in self._chunks], dtype=np.intp), grams)
        mus, count = np.array(self.scales), self.num_cycles
        factor = np.array([1.0, *(1.0 / (1.0 - mus**count))])
        before = 1.0 / (1.0 - mus ** (count - 1)) if count > 1 else np.zeros(len(mus))
        return {
            "gram": after_update(sums, self.scales) * np.outer(factor, factor),
            "lagged": sums[:, 0, 1:-1] * before,
            "lagged_norms": np.diagonal(sums, axis1=1, axis2=2)[:, 1:-1] * before**2,
            "weight_norms": np.sqrt(sums[:, -1, -1]),
        }

    def _past_gram(self, rows: list[torch.Tensor]) -> FloatArray | None:
        """Inner products of the kept displacements: one new row a cycle, the others are remembered."""
        if not self.num_past:
            return None
        row = torch.stack([one.cpu() for one in rows]).to(torch.float64).sum(dim=0).numpy()[: len(self._past)]
        size = len(row)
        gram = np.zeros((size, size))
        gram[1:, 1:] = self._known_past_gram[: size - 1, : size - 1]
        gram[0, :] = row
        gram[:, 0] = row
        self._known_past_gram = gram
        return gram

    _known_past_gram: FloatArray = np.zeros((0, 0))

    @torch.no_grad()
    def begin_cycle(self) -> None:
        """Start the next cycle at the present weights.

        Into pinned memory the copies are only queued: the next update comes after them on the same stream, and
        `end_cycle` begins with a transfer that waits for them. Who reads the start earlier settles first.
        """
        copy_(self._start, self.parameters)

    def _settle(self) -> None:
        """Wait until queued copies to the host have arrived."""
        wait_for({parameter.device for parameter in self.parameters})

    @torch.no_grad()
    def apply(
        self,
        coefficients: Mapping[str, float],
        own: OwnDirection | None = None,
        group_factors: Sequence[float] = (),
    ) -> None:
        """Add the weight delta to the parameters, in place.

        Args:
            coefficients: factor on each direction, by name ("d", "E<mu>", "O<mu>", "d<i>", "own").
            own: makes the direction "own" for one parameter.
            group_factors: factor per parameter group, empty for 1.
        """
        if not group_factors:
            self._move_all(coefficients, own)
            return
        for places, factor in zip(self._members, group_factors, strict=True):
            scaled = {name: factor * c for name, c in coefficients.items() if factor * c}
            for index in places if scaled else ():
                self._move(index, self.parameters[index], scaled, own)

    def _move_all(self, coefficients: Mapping[str, float], own: OwnDirection | None) -> None:
        """All parameters alike: one call a direction where the copies can be added as they are."""
        if not self._is_direct or "own" in coefficients:
            for index, parameter in enumerate(self.parameters):
                self._move(index, parameter, coefficients, own)
            return
        if coefficients.get("d"):
            lerp_(self.parameters, self._start, -coefficients["d"])
        for name, factor in coefficients.items():
            if name == "d" or not factor:
                continue
            directions, debias = self._directions(name)
            if not name.startswith("O") or not self.matrices:
                add_(self.parameters, directions, factor * debias)
                continue
            for index in self.matrices:
                self.parameters[index].data.add_(orthogonal_factor(directions[index]), alpha=factor * debias)
            if self._others:
                add_([self.parameters[i] for i in self._others], [directions[i] for i in self._others], factor * debias)

    def _move(
        self,
        index: int,
        parameter: torch.nn.Parameter,
        coefficients: Mapping[str, float],
        own: OwnDirection | None,
    ) -> None:
        start = self._start[index]
        direct = start.device == parameter.device and start.dtype == parameter.dtype
        # Where storage differs from the parameter, the sum is made in the wider type and rounded once.
        target = parameter.data if direct else parameter.data.to(compute_dtype(start.dtype), copy=True)
        made = own(index, parameter) if own is not None and "own" in coefficients else None
        if coefficients.get("d"):
            target.lerp_(start.to(target.device, target.dtype), -coefficients["d"])
        for name, factor in coefficients.items():
            if name == "own" and made is not None:
                target.add_(made.to(target.device, target.dtype), alpha=factor)
            elif name != "d":
                directions, debias = self._directions(name)
                direction = directions[index].to(target.device, target.dtype)
                if name.startswith("O") and index in self.matrices:
                    direction = orthogonal_factor(direction)
                target.add_(direction, alpha=factor * debias)
        if not direct:
            parameter.data.copy_(target)

    def _directions(self, name: str) -> tuple[list[torch.Tensor], float]:
        """A direction of all parameters as it is stored, and the factor that frees it of start-up bias."""
        if name.startswith(("E", "O")):
            mu = float(name[1:])
            return self._emas[self.scales.index(mu)], 1.0 / (1.0 - mu**self.num_cycles)
        return self._past[int(name[1:])], 1.0

    def norm_of(self, coefficients: Mapping[str, float], facts: CycleFacts, own: OwnDirection | None) -> float:
        """|sum of coefficient x direction|, from inner products where they are known.

        A jump along "own" is measured by making it; mixing "own" with other directions is refused. "O<mu>" counts as
        the average it is made from, of the same norm but at another angle to d: what it came to is measured after.
        """
        names = {name for name, factor in coefficients.items() if factor}
        if names == {"own"}:
            assert own is not None
            squares = [own(i, p).to(torch.float64).square().sum() for i, p in enumerate(self.parameters)]
            return abs(coefficients["own"]) * math.sqrt(float(torch.stack([one.cpu() for one in squares]).sum()))
        assert "own" not in names, f"'own' cannot be mixed with {sorted(names - {'own'})}"
        if all(name == "d" or name.startswith(("E", "O")) for name in names):
            return facts.jump_norm(dict(coefficients))
        assert facts.past_gram is not None
        weights = np.zeros(len(facts.past_gram))
        for name in names:
            weights[0 if name == "d" else int(name[1:])] += coefficients[name]
        return float(np.sqrt(max(0.0, weights @ facts.past_gram @ weights)))

    @torch.no_grad()
    def since_jump(self, kept: Kept) -> tuple[float, float]:
        """<displacement since the jump, jump> and |jump|^2, the jump being the cycle's start minus the kept weights.

        Args:
            kept: gives the weights of a parameter before the jump.
        """
        sums = torch.zeros(2, dtype=torch.float64)
        for start, parameter in zip(self._start, self.parameters, strict=True):
            theta = parameter.detach().to(start.device, compute_dtype(start.dtype))
            jump = start.to(theta.dtype) - kept(parameter).to(start.device, theta.dtype)
            sums += dots([theta - start, jump], jump).double().cpu()
        return float(sums[0]), float(sums[1])

    @torch.no_grad()
    def step_back(self, kept: Kept, factor: float) -> None:
        """Take back `factor` of the jump, from the weights and from the start of the cycle, so that d stays pure."""
        self._settle()
        for start, parameter in zip(self._start, self.parameters, strict=True):
            jump = start - kept(parameter).to(start.device, start.dtype)
            parameter.data.sub_(jump.to(parameter.device, parameter.dtype), alpha=factor)
            start.sub_(jump, alpha=factor)

    @torch.no_grad()
    def move_to(self, placement: str) -> int:
        """Store the copies elsewhere or in another format from now on; returns the bytes this freed on the device."""
        self._settle()
        before = self._device_bytes()
        self._placement = placement
        for index, parameter in enumerate(self.parameters):
            like = self._copy_of(parameter)
            self._start[index] = like.copy_(self._start[index])
            for tensors in (*self._emas, *self._past):
                tensors[index] = torch.empty_like(like, pin_memory=like.is_pinned()).copy_(tensors[index])
        self._is_direct = self._stored_like_parameters()
        return before - self._device_bytes()

    def keep_scales(self, scales: tuple[float, ...]) -> int:
        """Forget the averages of all other time scales; returns the bytes they held."""
        before = self.nbytes
        places = [self.scales.index(mu) for mu in scales]
        self.scales, self._emas = scales, [self._emas[place] for place in places]
        return before - self.nbytes

    def _device_bytes(self) -> int:
        held = [self._start, *self._emas, *self._past]
        devices = [parameter.device for parameter in self.parameters]
        return sum(one.nbytes for row in held for one, device in zip(row, devices, strict=True) if one.device == device)

    def state_dict(self) -> dict[str, Any]:
        """All copies and the count of cycles."""
        self._settle()
        return {
            "num_cycles": self.num_cycles,
            "start": self._start,
            "emas": self._emas,
            "past": self._past,
            "past_gram": self._known_past_gram,
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`; copies into the existing storage."""
        self.num_cycles = int(state["num_cycles"])
        for mine, theirs in zip([self._start, *self._emas], [state["start"], *state["emas"]], strict=True):
            for tensor, saved in zip(mine, theirs, strict=True):
                tensor.copy_(saved)
        self._past = [
            [saved.to(start.device) for saved, start in zip(past, self._start, strict=True)] for past in state["past"]
        ]
        self._known_past_gram = np.asarray(state["past_gram"], dtype=np.float64)


def _split_like(row: torch.Tensor, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Views of a joined row in the tensors' shapes."""
    pieces = row.split([one.numel() for one in tensors])
    return [piece.view(one.shape) for piece, one in zip(pieces, tensors, strict=True)]
