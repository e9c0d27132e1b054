"""The recurrence over a window, and its hand-written gradient."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.gru import gru_cell

from hpt.learned.scan import UNIMIX, latent_scan


def _problem(sizes: tuple[int, int, int, int, int], seed: int) -> tuple[torch.nn.GRUCell, list[torch.Tensor]]:
    """Cell and (deter, stoch, inputs, logit inputs, logit weights) in float64 for (D, G, C, T, B)."""
    deter, categoricals, classes, ticks, batch = sizes
    generator = torch.Generator().manual_seed(seed)
    stoch = categoricals * classes
    cell = torch.nn.GRUCell(stoch + 3, deter, dtype=torch.float64)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    shapes = [(batch, deter), (batch, stoch), (ticks, batch, 3 * deter), (ticks, batch, stoch), (stoch, deter)]
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]
    return cell, tensors


def test_one_tick_is_torchs_gru_cell() -> None:
    """The deterministic state is that of `torch.nn.GRUCell` on (stoch, action)."""
    cell, (deter, stoch, _, logit_inputs, weight) = _problem((7, 2, 3, 1, 5), seed=0)
    actions = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    inputs = torch.nn.functional.linear(actions, cell.weight_ih[:, 6:], cell.bias_ih)[None]
    got, _ = latent_scan((deter, stoch), inputs, logit_inputs, cell, weight, 3)
    torch.testing.assert_close(got[0], cell(torch.cat((stoch, actions), dim=1), deter), rtol=1e-12, atol=1e-14)


@settings(max_examples=10, deadline=None)
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(2, 4), st.integers(1, 5), st.integers(1, 3)),
    st.integers(0, 99),
)
def test_many_ticks_are_the_slow_twin(sizes: tuple[int, int, int, int, int], seed: int) -> None:
    """Batched states equal one-at-a-time cells in plain loops, fed with softmax probabilities, for any sizes."""
    cell, (deter, stoch, inputs, logit_inputs, weight) = _problem(sizes, seed)
    got_deter, got_stoch = latent_scan((deter, stoch), inputs, logit_inputs, cell, weight, sizes[2])
    width = stoch.shape[1]
    w_ih, w_hh, b_hh, w_l, into, logit_into = (
        one.detach().numpy() for one in (cell.weight_ih, cell.weight_hh, cell.bias_hh, weight, inputs, logit_inputs)
    )
    for b in range(sizes[4]):
        h, s = deter[b].detach().numpy(), stoch[b].detach().numpy()
        for t in range(sizes[3]):
            h = gru_cell(s, h, w_ih[:, :width], w_hh, into[t, b], b_hh)
            logits = (w_l @ h + logit_into[t, b]).reshape(-1, sizes[2])
            weights = np.exp(logits - logits.max())
            s = ((1 - UNIMIX) * weights / weights.sum(1, keepdims=True) + UNIMIX / sizes[2]).ravel()
            np.testing.assert_allclose(got_deter[t, b].detach().numpy(), h, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(got_stoch[t, b].detach().numpy(), s, rtol=1e-9, atol=1e-12)


def test_gradients_are_finite_differences() -> None:
    """Every gradient, of states, inputs and weights, agrees with central differences in float64."""
    cell, (deter, stoch, inputs, logit_inputs, weight) = _problem((2, 2, 2, 3, 2), seed=3)

    def run(*tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return latent_scan((tensors[0], tensors[1]), tensors[2], tensors[3], cell, tensors[4], 2)

    arguments = (deter, stoch, inputs, logit_inputs, weight, *cell.parameters())
    assert torch.autograd.gradcheck(run, arguments, eps=1e-6, atol=1e-7, rtol=1e-6)


def test_samples_are_one_hot_and_as_frequent_as_their_probability() -> None:
    """With uniforms on an even grid, each class is drawn in proportion to its probability, to one part in the grid."""
    cell, (_, _, _, _, weight) = _problem((3, 1, 4, 1, 1), seed=5)
    num = 1000
    state = torch.zeros(num, 3, dtype=torch.float64), torch.zeros(num, 4, dtype=torch.float64)
    inputs = torch.zeros(1, num, 9, dtype=torch.float64)
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0], dtype=torch.float64).expand(1, num, 4)
    grid = ((torch.arange(num) + 0.5) / num).reshape(1, num, 1)
    _, drawn = latent_scan(state, inputs, logits, cell, weight, 4, grid)
    _, probabilities = latent_scan(state, inputs, logits, cell, weight, 4)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(drawn.sum(-1), torch.ones(1, num, dtype=torch.float64))
    torch.testing.assert_close(drawn[0].mean(0), probabilities[0, 0], rtol=0, atol=1.5 / num)


def test_samples_pass_the_gradient_of_their_probabilities() -> None:
    """Straight-through: the last tick's logits get the same gradient whether a sample or the probability came out."""
    cell, (deter, stoch, inputs, logit_inputs, weight) = _problem((3, 2, 3, 1, 2), seed=7)
    direction = torch.randn(1, 2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    grads: list[torch.Tensor] = []
    for uniforms in (None, torch.full((1, 2, 2), 0.4)):
        _, out = latent_scan((deter, stoch), inputs, logit_inputs, cell, weight, 3, uniforms)
        grads.append(torch.autograd.grad((out * direction).sum(), logit_inputs)[0])
    torch.testing.assert_close(grads[0], grads[1])
    assert grads[0].abs().max() > 0.01


def test_no_class_is_ever_impossible() -> None:
    """However extreme the logits, every class keeps its share of the 1 % uniform mixture."""
    cell, (deter, stoch, inputs, _, weight) = _problem((3, 2, 4, 1, 2), seed=9)
    extreme = torch.tensor([1e4, -1e4, 0.0, 0.0] * 2, dtype=torch.float64).expand(1, 2, 8)
    _, out = latent_scan((deter, stoch), inputs, extreme, cell, weight, 4)
    assert float(out.detach().min()) >= UNIMIX / 4 * (1 - 1e-12)
