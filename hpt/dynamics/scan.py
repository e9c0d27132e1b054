"""The recurrence of the RSSM over a whole window at once, with its gradient written out.

One tick is a GRU cell (Cho et al. 2014, in the form of `torch.nn.GRUCell`) followed by the categorical latent it leads to:

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

import torch
from torch import Tensor

UNIMIX = 0.01
"""Share of the uniform distribution in every categorical (DreamerV3, arXiv:2301.04104, "unimix")."""


def latent_scan(  # noqa: PLR0913 -- the quantities of one recurrence
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
        None if uniforms is None else uniforms.transpose(1, 2),
    )
    return deter.transpose(1, 2), stoch.transpose(1, 2)


class LatentScan(torch.autograd.Function):
    """Differentiable loop over ticks, batch last; use `latent_scan`."""

    @staticmethod
    def forward(  # noqa: PLR0913 -- autograd functions take tensors one by one
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
        """Run the loop over (4D, B) pre-activations and (S, B) logits."""
        gates = gate_inputs.clone(memory_format=torch.contiguous_format)
        softmax = logit_inputs.clone(memory_format=torch.contiguous_format)
        deters = torch.cat((deter[None], deter.new_empty(len(gates), *deter.shape)))
        stochs = torch.cat((stoch[None], stoch.new_empty(len(gates), *stoch.shape)))
        weight_stoch = weight_stoch.contiguous()
        size, batch = deter.shape
        by_class = (-1, num_classes, batch)
        parts = zip(
            gates[:, : 3 * size].unbind(),
            gates[:, size:].unbind(),
            gates[:, size : 3 * size].unbind(),
            gates.view(-1, 4, size, batch).unbind(),
            softmax.unbind(),
            softmax.view(len(softmax), *by_class).unbind(),
            strict=True,
        )
        h, s = deters[0], stochs[0]
        states = zip(deters[1:].unbind(), stochs[1:].unbind(), strict=True)
        draws = [None] * len(gates) if uniforms is None else uniforms.unbind()
        for (seen_by_h, seen_by_s, r_z, (h_n, r, z, n), logits, grouped), (next_h, next_s), draw in zip(
            parts, states, draws, strict=True
        ):
            seen_by_h.addmm_(weight_deter, h)
            seen_by_s.addmm_(weight_stoch, s)
            r_z.sigmoid_()
            n.addcmul_(r, h_n).tanh_()
            torch.lerp(n, h, z, out=next_h)
            logits.addmm_(weight_logits, next_h)
            torch.softmax(grouped, dim=1, out=grouped)
            torch.mul(logits, 1 - UNIMIX, out=next_s).add_(UNIMIX / num_classes)
            if draw is not None:
                _sample(next_s.view(by_class), draw)
            h, s = next_h, next_s
        ctx.num_classes = num_classes
        ctx.save_for_backward(deters, stochs, gates, softmax, weight_stoch, weight_deter, weight_logits)
        return deters[1:].clone(), stochs[1:].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Walk the ticks backwards; gradients in the order of `forward`'s arguments."""
        deters, stochs, gates, softmax, weight_stoch, weight_deter, weight_logits = ctx.saved_tensors
        h, s = (one.clone(memory_format=torch.contiguous_format) for one in grads)
        num_ticks, size, batch = h.shape
        h_n, r, z, n = gates.view(num_ticks, 4, size, batch).unbind(1)
        to_n = (1 - z) * (1 - n * n)
        to_z = (deters[:-1] - n) * z * (1 - z)
        to_r = h_n * r * (1 - r)
        grad_gates, grad_logits = torch.empty_like(gates), torch.empty_like(softmax)
        by_class = (num_ticks, -1, ctx.num_classes, batch)
        steps = zip(
            *(one.unbind() for one in (h, s, to_n, to_z, to_r, r, z)),
            softmax.view(by_class).unbind(),
            grad_logits.unbind(),
            grad_logits.view(by_class).unbind(),
            grad_gates.view(num_ticks, 4, size, batch).unbind(),
            grad_gates[:, : 3 * size].unbind(),
            grad_gates[:, size:].unbind(),
            strict=True,
        )
        carry_h, carry_s = deters.new_zeros(size, batch), stochs.new_zeros(stochs.shape[1:])
        w_d, w_s, w_l = (w.t().contiguous() for w in (weight_deter, weight_stoch, weight_logits))
        for gh, gs, to_n, to_z, to_r, r, z, p, g_l, g_lc, (g_hn, g_r, g_z, g_n), by_h, by_s in reversed(
            list(steps)
        ):
            gs += carry_s
            gsc = gs.view(p.shape)
            torch.mul(p, gsc, out=g_lc)
            g_lc.addcmul_(p, g_lc.sum(1, keepdim=True), value=-1).mul_(1 - UNIMIX)
            gh += carry_h
            gh.addmm_(w_l, g_l)
            torch.mul(gh, to_n, out=g_n)
            torch.mul(gh, to_z, out=g_z)
            torch.mul(g_n, to_r, out=g_r)
            torch.mul(g_n, r, out=g_hn)
            torch.mul(gh, z, out=carry_h).addmm_(w_d, by_h)
            torch.mm(w_s, by_s, out=carry_s)

        def outer(a: Tensor, b: Tensor) -> Tensor:
            return a.transpose(0, 1).flatten(1) @ b.transpose(0, 1).flatten(1).t()

        return (
            carry_h,
            carry_s,
            grad_gates,
            grad_logits,
            outer(grad_gates[:, size:], stochs[:-1]),
            outer(grad_gates[:, : 3 * size], deters[:-1]),
            outer(grad_logits, deters[1:]),
            None,
            None,
        )


def _sample(probabilities: Tensor, draw: Tensor) -> None:
    """Replace (G, C, B) probabilities by one-hot samples, given uniforms (G, B)."""
    chosen = (probabilities.cumsum(1)[:, :-1] < draw[:, None]).sum(1, keepdim=True)
    probabilities.zero_().scatter_(1, chosen, 1.0)
