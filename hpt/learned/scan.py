"""The recurrence of the RSSM over a whole window at once, with its gradient written out.

One tick is a GRU cell (Cho et al. 2014, in the form of `torch.nn.GRUCell`), then the categorical latent it leads to:

    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)      x_. = W_x s + input,  h_. = W_h h + b
    n = tanh(x_n + r h_n),  h' = n + z (h - n)
    p = (1 - u) softmax(W_l h' + c) + u / classes,     s' = p, or a sample of it

where c carries what else is known at that tick: the encoded features for the posterior, a bias for the prior. Sixty
ticks of 16 x 48 numbers are far below what automatic differentiation is good at (0.6 ms a tick, measured); here the
forward pass keeps its intermediates, the backward pass walks them once (Werbos 1990), and every weight gradient is one
matrix product over all ticks. Inside, the batch is the last axis, so that gates are contiguous rows, ordered h_n, r, z,
x_n: the first three see the deterministic state, the last three the stochastic one.

Samples are straight-through (Bengio et al. 2013): one-hot forward, the gradient of the probabilities backward.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

UNIMIX = 0.01
"""Share of the uniform distribution in every categorical (DreamerV3, arXiv:2301.04104, "unimix")."""

_Array = NDArray[Any]


def latent_scan(
    state: tuple[Tensor, Tensor],
    inputs: Tensor,
    logit_inputs: Tensor,
    cell: torch.nn.GRUCell,
    weight_logits: Tensor,
    num_classes: int,
    uniforms: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """States over T ticks from `state` = (deter (B, D), stoch (B, S)).

    Args:
        state: where to start.
        inputs: (T, B, 3D) what enters the GRU besides the stochastic state, input bias included.
        logit_inputs: (T, B, S) what enters the logits besides the deterministic state.
        cell: its first S input columns act on the stochastic state.
        weight_logits: (S, D).
        num_classes: C, with S = categoricals x C.
        uniforms: (T, B, categoricals) in [0, 1) to draw samples with; None keeps probabilities.

    Returns:
        deter (T, B, D) and stoch (T, B, S) after each tick.
    """
    bias_r_z, bias_n = cell.bias_hh.tensor_split([2 * cell.hidden_size])
    first = torch.cat((bias_n.expand(*inputs.shape[:2], -1), inputs), dim=-1)
    first = first + torch.nn.functional.pad(bias_r_z, (cell.hidden_size, cell.hidden_size))
    deter, stoch = LatentScan.apply(  # pyright: ignore[reportGeneralTypeIssues]
        state[0].t(),
        state[1].t(),
        first.transpose(1, 2),
        logit_inputs.transpose(1, 2),
        cell.weight_ih[:, : state[1].shape[1]],
        cell.weight_hh.roll(cell.hidden_size, dims=0),
        weight_logits,
        num_classes,
        uniforms,
    )
    return deter.transpose(1, 2), stoch.transpose(1, 2)


class LatentScan(torch.autograd.Function):
    """Differentiable loop over ticks, batch last; use `latent_scan`."""

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917 -- autograd functions take tensors one by one
        ctx: Any,
        deter: Tensor,
        stoch: Tensor,
        gate_inputs: Tensor,
        logit_inputs: Tensor,
        weight_stoch: Tensor,
        weight_deter: Tensor,
        weight_logits: Tensor,
        num_classes: int,
        uniforms: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Run the loop over pre-activations (T, 4D, B) and logits (T, S, B), turned into gates and softmax in place."""
        gates = gate_inputs.clone(memory_format=torch.contiguous_format)
        softmax = logit_inputs.clone(memory_format=torch.contiguous_format)
        num_ticks, (size, batch) = len(gates), deter.shape
        deters = torch.cat((deter[None], deter.new_empty(num_ticks, *deter.shape)))
        stochs = torch.cat((stoch[None], stoch.new_empty(num_ticks, *stoch.shape)))
        weight_stoch = weight_stoch.contiguous()
        rows = gates.numpy().reshape(num_ticks, 4, size, batch)
        seen_h, seen_s, r_z = (
            gates[:, : 3 * size].unbind(),
            gates[:, size:].unbind(),
            gates[:, size : 3 * size].unbind(),
        )
        grouped = softmax.view(num_ticks, -1, num_classes, batch).unbind()
        h, s, logits = deters.unbind(), stochs.unbind(), softmax.unbind()
        h_rows, s_rows, softmax_rows = deters.numpy(), stochs.numpy(), softmax.numpy()
        work = np.empty_like(h_rows[0])
        for t in range(num_ticks):
            seen_h[t].addmm_(weight_deter, h[t])
            seen_s[t].addmm_(weight_stoch, s[t])
            r_z[t].sigmoid_()
            _next_deter(rows[t], h_rows[t], work, h_rows[t + 1])
            logits[t].addmm_(weight_logits, h[t + 1])
            torch.softmax(grouped[t], dim=1, out=grouped[t])
            np.multiply(softmax_rows[t], 1 - UNIMIX, s_rows[t + 1])
            np.add(s_rows[t + 1], UNIMIX / num_classes, s_rows[t + 1])
            if uniforms is not None:
                _sample(s[t + 1].view(grouped[t].shape), uniforms[t])
        ctx.num_classes = num_classes
        ctx.save_for_backward(deters, stochs, gates, softmax, weight_stoch, weight_deter, weight_logits)
        return deters[1:].clone(), stochs[1:].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Walk the ticks backwards; gradients in the order of `forward`'s arguments."""
        deters, stochs, gates, softmax, *weights = ctx.saved_tensors
        grad_h, grad_s = (one.clone(memory_format=torch.contiguous_format) for one in grads)
        num_ticks, size, batch = grad_h.shape
        grad_gates, grad_logits = torch.empty_like(gates), torch.empty_like(softmax)
        slopes = _gate_slopes(gates.view(num_ticks, 4, size, batch), deters[:-1])
        rows, shares = grad_gates.numpy().reshape(num_ticks, 4, size, batch), softmax.numpy()
        logit_rows, h_rows, s_rows = grad_logits.numpy(), grad_h.numpy(), grad_s.numpy()
        to_stoch, to_deter, to_hidden = (weight.t().contiguous() for weight in weights)
        by_h, by_s = grad_gates[:, : 3 * size].unbind(), grad_gates[:, size:].unbind()
        into_h, by_logits = grad_h.unbind(), grad_logits.unbind()
        carry_h, carry_s = torch.zeros_like(deters[0]), torch.zeros_like(stochs[0])
        carry_h_row, carry_s_row = carry_h.numpy(), carry_s.numpy()
        for t in reversed(range(num_ticks)):
            np.add(s_rows[t], carry_s_row, carry_s_row)
            _categorical_backward(shares[t], carry_s_row, logit_rows[t], ctx.num_classes)
            np.add(h_rows[t], carry_h_row, h_rows[t])
            into_h[t].addmm_(to_hidden, by_logits[t])
            _gates_backward(slopes[t], h_rows[t], rows[t], carry_h_row)
            carry_h.addmm_(to_deter, by_h[t])
            torch.mm(to_stoch, by_s[t], out=carry_s)
        return (
            carry_h,
            carry_s,
            grad_gates,
            grad_logits,
            _outer(grad_gates[:, size:], stochs[:-1]),
            _outer(grad_gates[:, : 3 * size], deters[:-1]),
            _outer(grad_logits, deters[1:]),
            None,
            None,
        )


def _next_deter(gates: _Array, deter: _Array, work: _Array, out: _Array) -> None:
    """Turn x_n into n, in place, and write n + z (h - n)."""
    h_n, r, z, n = gates
    np.multiply(r, h_n, work)
    np.add(n, work, n)
    np.tanh(n, n)
    np.subtract(deter, n, work)
    np.multiply(work, z, work)
    np.add(n, work, out)


def _sample(probabilities: Tensor, draw: Tensor) -> None:
    """Replace probabilities (G, C, B) by one-hot samples, given uniforms (B, G)."""
    chosen = (probabilities.cumsum(1)[:, :-1] < draw.t()[:, None]).sum(1, keepdim=True)
    probabilities.zero_().scatter_(1, chosen, 1.0)


def _gate_slopes(gates: Tensor, deters: Tensor) -> _Array:
    """What backward multiplies by, (T, 5, D, B): slopes of h' by z and n, of n by h_n and r, of h' by h."""
    h_n, r, z, n = gates.unbind(1)
    kept = 1 - z
    return torch.stack(((deters - n) * z * kept, kept * (1 - n * n), r, h_n * r * (1 - r), z), dim=1).numpy()


def _gates_backward(slopes: _Array, grad: _Array, out: _Array, carry: _Array) -> None:
    """Gradients of h_n, r, z, n before their squashing, (4, D, B), and the direct part of that of the state before."""
    np.multiply(slopes[:2], grad, out[2:])
    np.multiply(slopes[2:4], out[3], out[:2])
    np.multiply(slopes[4], grad, carry)


def _categorical_backward(softmax: _Array, grad: _Array, out: _Array, num_classes: int) -> None:
    """Gradient of the logits (S, B) given that of the unimix probabilities."""
    np.multiply(softmax, grad, out)
    grouped = out.reshape(-1, num_classes, out.shape[-1])
    shares = softmax.reshape(grouped.shape)
    grouped -= shares * np.add.reduce(grouped, axis=1, keepdims=True)
    out *= 1 - UNIMIX


def _outer(grads: Tensor, inputs: Tensor) -> Tensor:
    """Gradient of a weight: sum over ticks and batch of grads (T, n, B) times inputs (T, m, B)."""
    return grads.transpose(0, 1).flatten(1) @ inputs.transpose(0, 1).flatten(1).t()
