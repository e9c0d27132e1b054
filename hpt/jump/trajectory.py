"""The weights' path: where the cycle began, and the trend of its displacements over cycles.

With theta_start the weights at the start of a cycle,

    d = theta - theta_start            E <- mu E + (1 - mu) d            E^ = E / (1 - mu^k)

and a jump is -a d + g E^ (`WeightDelta`). O^, the orthogonal factor of each matrix of E^ at equal norm, is made when it
is applied and never stored. Memory: two copies of the trained weights.

Everything runs in place and on the parameters' device, wherever the copies lie, so no parameter moves; temporaries are
a few times one tensor. Of parameters that lie in pieces on several processes each follows its own pieces.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from hpt.jump.delta import WeightDelta
from hpt.jump.gram import CHUNK_NUMBERS, after_update, chunks_of, gram_of, joined, to_host
from hpt.jump.stats import CycleStats, FloatArray
from hpt.memory.offload import wait_for
from hpt.numerics.orthogonal import factor_flops, has_factor, orthogonal_factor
from hpt.numerics.shards import NO_SHARDS, Shards, by_whole, local, own_piece, whole_shape
from hpt.numerics.tensors import add_, compute_dtype, copy_, lerp_, real_view, storage_dtype


class Trajectory:
    """Displacements of the trained parameters, by parameter group; complex ones as pairs of real numbers.

    Args:
        groups: trained parameters of each optimizer group, every parameter, and all memory, once.
        scale: mu, decay of the trend over cycles.
        device: where the copies live: "device", "host" (pinned when the parameters are on CUDA) or "auto" (host for
            parameters on CUDA, else device).
        number_format: "same" as the parameters, or "bf16", half the bytes.
        as_they_are: parameters whose orthogonal factor is not followed, tables of rows for one.
        shards: the processes that hold pieces of the parameters.

    Attributes:
        parameters: all of them, group by group.
        matrices: places of the parameters that an orthogonal delta follows by their factor.
        factor_flops: floating-point operations of making these factors once.
        num_cycles: cycles in the trend (k).
        shards: as given.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[torch.nn.Parameter]],
        scale: float,
        device: str = "auto",
        number_format: str = "same",
        as_they_are: Iterable[torch.Tensor] = (),
        shards: Shards = NO_SHARDS,
    ) -> None:
        self.shards = shards
        self.scale, self.device, self.number_format = scale, device, number_format
        self.follow(groups, as_they_are)

    @torch.no_grad()
    def follow(self, groups: Sequence[Sequence[torch.nn.Parameter]], as_they_are: Iterable[torch.Tensor] = ()) -> None:
        """Begin anew with these parameters at their present weights; the trend of those before is forgotten."""
        self.num_cycles = 0
        self.parameters = [parameter for group in groups for parameter in group]
        excepted = {id(parameter) for parameter in as_they_are}
        self.matrices = [i for i, one in enumerate(self.parameters) if has_factor(one) and id(one) not in excepted]
        self.factor_flops = sum(factor_flops(self.parameters[index].shape) for index in self.matrices)
        self._others = sorted({*range(len(self.parameters))} - {*self.matrices})
        self._group_of = [index for index, group in enumerate(groups) for _ in group]
        self._num_groups = len(groups)
        self._start = [self._copy_of(parameter) for parameter in self.parameters]
        self._trend = [torch.zeros_like(start) for start in self._start]
        self._is_direct = self._stored_like_parameters()
        self._num_numbers = sum(math.prod(self._shape(place)) for place in range(len(self._start)))
        counts = [self.shards.count(parameter) for parameter in self.parameters]
        rows_of = zip(self._group_of, self.parameters, self._start, counts, strict=True)
        kinds = [(group, one.device, one.dtype, start.device, start.dtype, n) for group, one, start, n in rows_of]
        on_cuda = any(one.device.type == "cuda" for one in self.parameters)
        limit = CHUNK_NUMBERS["cuda" if on_cuda else "cpu"]
        self._chunks = chunks_of([start.numel() for start in self._start], kinds, limit)
        self._counted = [index for index, places in enumerate(self._chunks) if counts[places[0]]]

    def _stored_like_parameters(self) -> bool:
        """No copy lies elsewhere or in another format than its parameter, so they can be added as they are."""
        pairs = zip(self._start, self._weights(), strict=True)
        return all(start.device == one.device and start.dtype == one.dtype for start, one in pairs)

    def _weights(self, places: Iterable[int] | None = None) -> list[torch.Tensor]:
        """The parameters, or some of them, as real numbers in their own memory; for use without gradients."""
        chosen = self.parameters if places is None else [self.parameters[place] for place in places]
        return [torch.view_as_real(whole) if whole.is_complex() else whole for whole in map(local, chosen)]

    def _shape(self, place: int) -> tuple[int, ...]:
        """Of the whole parameter, complex numbers being pairs."""
        return whole_shape(self._start[place], self.parameters[place])

    def _copy_of(self, parameter: torch.nn.Parameter) -> torch.Tensor:
        on_cuda = parameter.device.type == "cuda"
        to_host = self.device == "host" or (self.device == "auto" and on_cuda)
        weights = real_view(local(parameter))
        stored = storage_dtype(weights.dtype, half=self.number_format == "bf16")
        copy = weights.to(dtype=stored, device="cpu" if to_host else parameter.device, copy=True)
        return copy.pin_memory() if to_host and on_cuda else copy

    @property
    def nbytes(self) -> int:
        """Bytes held, all copies together."""
        return sum(tensor.nbytes for tensor in (*self._start, *self._trend))

    @property
    def device_nbytes(self) -> int:
        """Those that lie on the device of their parameter."""
        rows = zip(self.parameters, self._start, self._trend, strict=True)
        return sum(one.nbytes for parameter, *held in rows for one in held if one.device == parameter.device)

    @torch.no_grad()
    def measure(self) -> list[torch.Tensor]:
        """Inner products (3, 3) of displacement, trend and weights as they are now, a chunk of this process's each."""
        grams: list[torch.Tensor] = []
        for places in self._chunks:
            theta, d = self._weights_and_displacement(places)
            grams.append(gram_of([d, self._fetched(self._trend, places, d), theta]))
        return grams

    def by_group(self, grams: FloatArray) -> FloatArray:
        """What `measure` gave, on the host, summed for each parameter group; of pieces, those that count here."""
        sums = np.zeros((self._num_groups, *grams.shape[1:]))
        groups = np.array([self._group_of[self._chunks[index][0]] for index in self._counted], dtype=np.intp)
        np.add.at(sums, groups, grams[self._counted])
        return sums

    def leap(self, products: FloatArray) -> float:
        """|displacement| of the cycle that just ended over |trend| before it, by the inner products; 0 without one."""
        displacement, trend = products[:, 0, 0].sum(), products[:, 1, 1].sum()
        return math.sqrt(displacement / trend) / self._debias if self.num_cycles and trend > 0.0 else 0.0

    def _weights_and_displacement(self, places: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Both of one chunk, as rows where the parameters are, in single precision at least."""
        theta = joined(self._weights(places)).to(compute_dtype(self._start[places[0]].dtype))
        return theta, theta - self._fetched(self._start, places, theta)

    @staticmethod
    def _fetched(copies: Sequence[torch.Tensor], places: Sequence[int], like: torch.Tensor) -> torch.Tensor:
        """One chunk of the copies as a row, on the device and in the format of another one."""
        chosen = [copies[index] for index in places]
        if chosen[0].device == like.device and chosen[0].dtype == like.dtype:
            return joined(chosen)
        row = like.new_empty(like.shape)
        copy_(_split_like(row, chosen), chosen)
        return row

    @torch.no_grad()
    def end_cycle(
        self,
        step: int,
        num_steps: int,
        progress: float | None,
        lr_frac: float,
        products: FloatArray | None = None,
    ) -> CycleStats:
        """Take the displacement of the cycle that just ended into the trend; return all inner products.

        The cycle's start is kept until `begin_cycle`, because a jump may still need d. A displacement that is not
        finite is not taken in.

        Args:
            step: net optimizer updates so far; `num_steps` of them in this cycle.
            num_steps: see `step`.
            progress: step over planned steps, None if unknown.
            lr_frac: learning rate over the largest so far.
            products: (G, 3, 3) what `by_group` gave, summed over the processes; None: that is done here.
        """
        if products is None:
            products = self.shards.sum(self.by_group(to_host(self.measure())))
        self.num_cycles += 1
        stats = self._stats(step, num_steps, progress, lr_frac, products)
        if not math.isfinite(stats.displacement_norm):
            self.num_cycles -= 1
            return stats
        for places in self._chunks:
            self._take_in(places)
        return stats

    def _take_in(self, places: Sequence[int]) -> None:
        """Bring one chunk of the trend nearer to the displacement; on the device, where copies lie on the host."""
        trend = [self._trend[index] for index in places]
        displacement = self._weights_and_displacement(places)[1].to(trend[0].dtype)
        if displacement.device == trend[0].device:
            lerp_(trend, _split_like(displacement, trend), 1.0 - self.scale)
        else:
            row = self._fetched(self._trend, places, displacement).lerp_(displacement, 1.0 - self.scale)
            copy_(trend, _split_like(row, trend))

    def _stats(
        self, step: int, num_steps: int, progress: float | None, lr_frac: float, products: FloatArray
    ) -> CycleStats:
        return CycleStats(
            cycle=self.num_cycles,
            step=step,
            num_steps=num_steps,
            progress=progress,
            lr_frac=lr_frac,
            scale=self.scale,
            **self._debiased(products),
        )

    def _debiased(self, sums: FloatArray) -> dict[str, FloatArray]:
        """Each group's inner products, the new trend, and the old one, freed of start-up bias."""
        mu, count = self.scale, self.num_cycles
        factor = np.array([1.0, 1.0 / (1.0 - mu**count)])
        before = 1.0 / (1.0 - mu ** (count - 1)) if count > 1 else 0.0
        return {
            "gram": after_update(sums, mu) * np.outer(factor, factor),
            "lagged": sums[:, 0, 1] * before,
            "lagged_norms": sums[:, 1, 1] * before**2,
            "weight_norms": np.sqrt(sums[:, 2, 2]),
        }

    @torch.no_grad()
    def begin_cycle(self) -> None:
        """Start the next cycle at the present weights.

        Into pinned memory the copies are only queued, as those of the trend are: the device reads them after they
        came, since both are on the same stream. The host settles before it reads.
        """
        if self._start:  # all of the optimizer's parameters may be frozen for a while
            copy_(self._start, self._weights())

    def _settle(self) -> None:
        """Wait until queued copies to the host have arrived."""
        wait_for({parameter.device for parameter in self.parameters})

    @torch.no_grad()
    def apply(self, delta: WeightDelta, noise_norm: float = 1.0) -> None:
        """Add the weight delta to the parameters, in place: all alike where the copies can be added as they are.

        Args:
            delta: what to add.
            noise_norm: expected norm of the noise that stands in for the trend, if the delta asks for noise.
        """
        assert delta.scale == self.scale, f"the delta follows a trend of scale {delta.scale}, kept is {self.scale}"
        weights = self._weights()
        if not self._is_direct or delta.noise_seed is not None:
            for index, one in enumerate(weights):
                self._move(index, one, delta, noise_norm)
            return
        if delta.pull_back:
            lerp_(weights, self._start, delta.pull_back)
        if not delta.gain:
            return
        factor = delta.gain * self._debias
        if not delta.orthogonal or not self.matrices:
            add_(weights, self._trend, factor)
            return
        for index in self.matrices:
            weights[index].add_(by_whole(orthogonal_factor, self._trend[index], self.parameters[index]), alpha=factor)
        if self._others:
            add_([weights[i] for i in self._others], [self._trend[i] for i in self._others], factor)

    def _move(self, index: int, weights: torch.Tensor, delta: WeightDelta, noise_norm: float) -> None:
        start = self._start[index]
        direct = start.device == weights.device and start.dtype == weights.dtype
        # Where storage differs from the parameter, the sum is made in the wider type and rounded once.
        target = weights if direct else weights.to(compute_dtype(start.dtype), copy=True)
        if delta.pull_back:
            target.lerp_(start.to(target.device, target.dtype), delta.pull_back)
        if delta.gain and delta.noise_seed is not None:
            noise = self._noise(index, delta.noise_seed, noise_norm)
            target.add_(noise.to(target.device, target.dtype), alpha=delta.gain)
        elif delta.gain:
            direction = self._trend[index].to(target.device, target.dtype)
            if delta.orthogonal and index in self.matrices:
                direction = by_whole(orthogonal_factor, direction, self.parameters[index])
            target.add_(direction, alpha=delta.gain * self._debias)
        if not direct:
            weights.copy_(target)

    def _noise(self, index: int, seed: int, norm: float) -> torch.Tensor:
        """Gaussian numbers for one parameter, the same whoever asks; drawn on the host in single precision.

        Over all parameters, P numbers, they have norm `norm` in expectation.
        """
        generator = np.random.default_rng([seed, index])
        noise = generator.standard_normal(self._shape(index), dtype=np.float32)
        return own_piece(torch.as_tensor(noise), self.parameters[index]) * (norm / math.sqrt(self._num_numbers))

    @property
    def _debias(self) -> float:
        """Frees the trend of start-up bias."""
        return 1.0 / (1.0 - self.scale**self.num_cycles)

    @torch.no_grad()
    def move_to(self, device: str | None = None, number_format: str | None = None) -> int:
        """Store the copies elsewhere or in another format from now on; returns the bytes this freed on the device."""
        self._settle()
        before = self.device_nbytes
        self.device = self.device if device is None else device
        self.number_format = self.number_format if number_format is None else number_format
        for index, parameter in enumerate(self.parameters):
            like = self._copy_of(parameter)
            self._start[index] = like.copy_(self._start[index])
            self._trend[index] = torch.empty_like(like, pin_memory=like.is_pinned()).copy_(self._trend[index])
        self._is_direct = self._stored_like_parameters()
        return before - self.device_nbytes

    def state_dict(self) -> dict[str, Any]:
        """Both copies and the count of cycles."""
        self._settle()
        return {"num_cycles": self.num_cycles, "start": self._start, "trend": self._trend}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`; copies into the existing storage."""
        self.num_cycles = int(state["num_cycles"])
        for mine, theirs in ((self._start, state["start"]), (self._trend, state["trend"])):
            for tensor, saved in zip(mine, theirs, strict=True):
                tensor.copy_(local(saved))


def _split_like(row: torch.Tensor, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Views of a joined row in the tensors' shapes."""
    pieces = row.split([one.numel() for one in tensors])
    return [piece.view(one.shape) for piece, one in zip(pieces, tensors, strict=True)]
