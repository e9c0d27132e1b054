"""The acting path: the same model as `rssm` and `ensemble`, in numpy, one state at a time, without sampling.

A step of imagination is three small matrix-vector products and a dozen passes over fifty numbers, so what costs is the
number of calls. Weights are copied once after each learning and rearranged: biases become the column that meets a
constant 1 between the two parts of the state (h, 1, s); the uniform mixture is folded into every weight that reads s,
which is then a plain softmax; logit weights are centred over the classes, so that no softmax underflows; the logistic
function becomes a tanh with halved weights; the actions' share of all gates is one product before the loop, and trunk
and heads of all ticks are two after it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hpt.learned.forecast_model import Vector
from hpt.learned.rssm import MAX_LOG_SCALE, RSSM, EnsembleHeads, Sizes
from hpt.learned.scan import UNIMIX
from hpt.learned.world_model import WorldModel
from hpt.numerics.stateful import Stateful

_MAX_LOGIT = np.float32(80)  # exp overflows float32 at 88.7
_HALF = np.float32(0.5)


@dataclass(frozen=True, slots=True)
class Judged:
    """What E heads say of H states: (H, E) each; shifts without their anchored part.

    Views of buffers that the next call overwrites.
    """

    shift: Vector
    log_scale: Vector


@dataclass(frozen=True, slots=True)
class _Row:
    """Views of one state (h, 1, s), and what the gates take in on the way to the next one."""

    whole: Vector
    h: Vector
    h_one: Vector
    s: Vector
    gates: Vector


class FastRollout(Stateful):
    """Acting state, its filtering and its imagination. Weights are those of the last `load`, and not saved."""

    _state = ("_acting",)

    def __init__(self, sizes: Sizes, max_horizon: int) -> None:
        self._sizes, self._max_horizon = sizes, max_horizon
        size, stoch, length = sizes.deter, sizes.stoch, max_horizon + 1
        self._states = _empty(length, size + 1 + stoch)
        self._acting = self._states[0]
        self._gate_inputs = _empty(length, 3 * size)
        self._rows = [
            _Row(state, state[:size], state[: size + 1], state[size + 1 :], gates)
            for state, gates in zip(self._states, self._gate_inputs, strict=True)
        ]
        self._pre, self._work = _empty(4 * size), _empty(size)
        self._logits, self._sums = _empty(stoch), _empty(stoch)
        same_class = np.ones((sizes.num_classes, sizes.num_classes))
        self._group_sums = np.kron(np.eye(sizes.num_categoricals), same_class).astype(np.float32)
        self._hidden = _empty(max_horizon, sizes.trunk)
        self._outputs = _empty(max_horizon, 2 * sizes.ensemble)
        self._log_scales = _empty(max_horizon, sizes.ensemble)
        self._states[:, :size], self._states[:, size], self._states[:, size + 1 :] = 0, 1, 1 / sizes.num_classes

    def load(self, model: WorldModel) -> None:
        """Copy and rearrange the weights."""
        self._load_gates(model.rssm)
        self._load_logits(model.rssm)
        self._load_heads(model.heads)

    def _load_heads(self, heads: EnsembleHeads) -> None:
        size = self._sizes.deter
        trunk, bias = _numbers(heads.trunk.weight), _numbers(heads.trunk.bias)
        folded, mixed = self._fold(trunk[:, size:])
        self._trunk = _packed(np.column_stack((trunk[:, :size], bias + mixed, folded)).T)
        self._heads, self._head_bias = _packed(heads.heads.weight.T), _packed(heads.heads.bias)
        self._anchors = _packed(heads.anchors.weight.T)

    def _load_gates(self, model: RSSM) -> None:
        size, stoch = self._sizes.deter, self._sizes.stoch
        by_input, by_h = _numbers(model.cell.weight_ih), _numbers(model.cell.weight_hh)
        bias, bias_h = _numbers(model.cell.bias_ih).copy(), _numbers(model.cell.bias_hh)
        folded, mixed = self._fold(by_input[:, :stoch])
        bias += mixed
        bias[: 2 * size] += bias_h[: 2 * size]
        halved = np.where(np.arange(3 * size) < 2 * size, 0.5, 1.0)[:, None]
        r_z = np.column_stack((by_h, np.zeros(3 * size), folded))[: 2 * size]
        h_n = np.column_stack((by_h[2 * size :], bias_h[2 * size :], np.zeros((size, stoch))))
        self._gate_weights = _packed(np.vstack((h_n, 0.5 * r_z)))
        self._stoch_weights = _packed(folded[2 * size :])
        self._action_weights = _packed((by_input[:, stoch:] * halved).T)
        self._gate_bias = _packed(bias * halved[:, 0])

    def _load_logits(self, model: RSSM) -> None:
        size = self._sizes.deter
        prior, posterior = _numbers(model.prior.weight), _numbers(model.posterior.weight)
        prior_bias, posterior_bias = _numbers(model.prior.bias), _numbers(model.posterior.bias)
        self._prior = self._centred(np.column_stack((prior, prior_bias)))
        self._posterior = self._centred(np.column_stack((posterior[:, :size], posterior_bias)))
        self._embed_weights = self._centred(posterior[:, size:])
        self._encoder, self._encoder_bias = _packed(model.encoder.weight), _packed(model.encoder.bias)

    def _fold(self, weights: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Weights (n, S) on unimix probabilities as weights on the softmax, and a bias (n,)."""
        return weights * (1 - UNIMIX), weights.sum(axis=1) * (UNIMIX / self._sizes.num_classes)

    def _centred(self, weights: NDArray[Any]) -> Vector:
        """Logit weights (S, n) less their mean over the classes: the same softmax, whose largest logit is >= 0."""
        grouped = weights.reshape(self._sizes.num_categoricals, self._sizes.num_classes, -1)
        return _packed((grouped - grouped.mean(axis=1, keepdims=True)).reshape(weights.shape))

    def latent(self) -> Vector:
        """Copy of the acting state, (D + S,) float32: the deterministic part, then the unimix probabilities."""
        return np.concatenate(self._latents(0, 1), axis=1)[0]

    def _latents(self, first: int, last: int) -> tuple[Vector, Vector]:
        """Copies (n, D) and (n, S) of the states in rows first .. last - 1."""
        rows, size = self._states[first:last], self._sizes.deter
        mixed = rows[:, size + 1 :] * np.float32(1 - UNIMIX) + np.float32(UNIMIX / self._sizes.num_classes)
        return rows[:, :size].copy(), mixed

    def tick(self, features: Vector, actions: Vector) -> tuple[Vector, Vector]:
        """Advance the acting state by n observed ticks, given features (n, 64) and the actions (n, 3) that led to them.

        Returns:
            Latents (n, D) and (n, S) after each tick. Products are taken tick by tick, so the bits do not depend on n.
        """
        embed = np.tanh(np.matmul(self._encoder, _symlog(features)[:, :, None])[..., 0] + self._encoder_bias)
        seen = np.matmul(self._embed_weights, embed[:, :, None])[..., 0]
        parts: list[tuple[Vector, Vector]] = []
        for first in range(0, len(features), self._max_horizon):
            chunk = slice(first, min(first + self._max_horizon, len(features)))
            self._run(actions[chunk], self._posterior, seen[chunk])
            num_ticks = chunk.stop - first
            parts.append(self._latents(1, num_ticks + 1))
            self._states[0] = self._states[num_ticks]
        deter, stoch = zip(*parts, strict=True)
        return np.concatenate(deter), np.concatenate(stoch)

    def anchored(self, anchors: Vector) -> Vector:
        """Anchored part (H, E) of the shifts, given anchors (H, 5)."""
        return anchors @ self._anchors

    def imagine(self, actions: Vector) -> Judged:
        """What the heads say, (H, E) each, at each of H ticks from the acting state under actions (H, 3)."""
        horizon = len(actions)
        assert 1 <= horizon <= self._max_horizon, f"horizon is {horizon}, outside 1..{self._max_horizon}"
        self._run(actions, self._prior, None)
        return self._judge(horizon)

    def _run(self, actions: Vector, logit_weights: Vector, seen: Vector | None) -> None:
        """Write the states after each action behind the acting one."""
        rows, num_ticks, size = self._rows, len(actions), self._sizes.deter
        gate_inputs = self._gate_inputs[:num_ticks]
        if seen is None:
            np.dot(actions, self._action_weights, gate_inputs)
        else:
            gate_inputs[:] = np.matmul(actions[:, None], self._action_weights)[:, 0]
        gate_inputs += self._gate_bias
        pre, work, logits, sums = self._pre, self._work, self._logits, self._sums
        by_state, rest, h_n, n = pre[: 3 * size], pre[size:], pre[:size], pre[3 * size :]
        r_z, r, z = pre[size : 3 * size], pre[size : 2 * size], pre[2 * size : 3 * size]
        gate_weights, stoch_weights, group_sums = self._gate_weights, self._stoch_weights, self._group_sums
        dot, add, multiply, tanh = np.dot, np.add, np.multiply, np.tanh
        now = rows[0]
        for tick, then in enumerate(rows[1 : num_ticks + 1]):
            dot(gate_weights, now.whole, by_state)
            dot(stoch_weights, now.s, n)
            add(rest, now.gates, rest)
            tanh(r_z, r_z)
            multiply(r_z, _HALF, r_z)
            add(r_z, _HALF, r_z)
            multiply(r, h_n, work)
            add(n, work, n)
            tanh(n, n)
            np.subtract(now.h, n, work)
            multiply(work, z, work)
            add(n, work, then.h)
            dot(logit_weights, then.h_one, logits)
            if seen is not None:
                add(logits, seen[tick], logits)
            np.minimum(logits, _MAX_LOGIT, out=logits)
            np.exp(logits, logits)
            dot(group_sums, logits, sums)
            np.divide(logits, sums, then.s)
            now = then

    def _judge(self, num_ticks: int) -> Judged:
        """Trunk and heads of the states behind the acting one."""
        hidden, outputs, log_scale = (one[:num_ticks] for one in (self._hidden, self._outputs, self._log_scales))
        np.dot(self._states[1 : num_ticks + 1], self._trunk, hidden)
        np.tanh(hidden, hidden)
        np.dot(hidden, self._heads, outputs)
        outputs += self._head_bias
        shift, raw = outputs[:, : self._sizes.ensemble], outputs[:, self._sizes.ensemble :]
        np.multiply(raw, 1 / MAX_LOG_SCALE, log_scale)
        np.tanh(log_scale, log_scale)
        log_scale *= MAX_LOG_SCALE
        return Judged(shift, log_scale)


def _empty(*shape: int) -> Vector:
    return np.empty(shape, dtype=np.float32)


def _numbers(weights: torch.Tensor) -> NDArray[Any]:
    return weights.detach().numpy()


def _packed(weights: NDArray[Any] | torch.Tensor) -> Vector:
    """Contiguous float32 copy."""
    numbers = _numbers(weights) if isinstance(weights, torch.Tensor) else weights
    return np.array(numbers, dtype=np.float32, order="C")


def _symlog(x: Vector) -> Vector:
    return np.sign(x) * np.log1p(np.abs(x))
