"""Filtering, imagination and initial weights of the RSSM."""

import numpy as np
import pytest
import torch
from references.rssm_loop import LoopRSSM

from hpt.learned.rssm import RSSM, SIZES, Sizes
from hpt.learned.scan import latent_scan

_SMALL = Sizes(features=6, deter=5, num_categoricals=2, num_classes=3, embed=4, trunk=4, ensemble=2)


def _model(sizes: Sizes = _SMALL, seed: int = 0) -> RSSM:
    return RSSM(sizes, torch.Generator().manual_seed(seed)).double()


def _random(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _twin(model: RSSM) -> LoopRSSM:
    return LoopRSSM({f"rssm.{name}": value.numpy() for name, value in model.state_dict().items()}, 3)


def test_filtering_is_the_slow_twin() -> None:
    """Observed windows, filtered together, equal one window and tick at a time in plain loops."""
    model, features, actions = _model(), _random(4, 3, 6), _random(4, 3, 3, seed=2)
    state = _random(3, 5).tanh(), torch.full((3, 6), 1 / 3, dtype=torch.float64)
    seen = model.observe(state, features, actions, None)
    twin = _twin(model)
    for b in range(3):
        h, s = state[0][b].numpy(), state[1][b].numpy()
        for t in range(4):
            h, s = twin.observe(h, s, features[t, b].numpy(), actions[t, b].numpy())
            np.testing.assert_allclose(seen.deter[t, b].detach().numpy(), h, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(seen.stoch[t, b].detach().numpy(), s, rtol=1e-9, atol=1e-12)


def test_imagination_is_the_slow_twin() -> None:
    """Imagined windows equal one tick at a time by the prior alone."""
    model, actions = _model(), _random(5, 2, 3)
    state = _random(2, 5).tanh(), torch.full((2, 6), 1 / 3, dtype=torch.float64)
    deter, stoch = model.imagine(state, actions)
    twin = _twin(model)
    for b in range(2):
        h, s = state[0][b].numpy(), state[1][b].numpy()
        for t in range(5):
            h, s = twin.imagine(h, s, actions[t, b].numpy())
            np.testing.assert_allclose(deter[t, b].detach().numpy(), h, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(stoch[t, b].detach().numpy(), s, rtol=1e-9, atol=1e-12)


def test_logits_belong_to_the_states() -> None:
    """Prior logits repeat what imagination would have used, posterior logits what filtering did use."""
    model, features, actions = _model(), _random(3, 2, 6), _random(3, 2, 3, seed=2)
    state = torch.zeros(2, 5, dtype=torch.float64), torch.full((2, 6), 1 / 3, dtype=torch.float64)
    seen = model.observe(state, features, actions, None)
    for logits, states in ((seen.posterior_logits, seen.stoch), (seen.prior_logits, model.imagine(state, actions)[1])):
        softmax = logits[0].reshape(2, 2, 3).softmax(-1) * 0.99 + 0.01 / 3
        torch.testing.assert_close(softmax.reshape(2, 6), states[0])


@pytest.mark.parametrize(("name", "widths"), [("default", (48, 32)), ("reference", (256, 32))])
def test_presets_have_the_announced_widths(name: str, widths: tuple[int, int]) -> None:
    """Both presets read 64 features, have 4 x 8 categoricals and 3 heads; they differ in the deterministic state."""
    sizes = SIZES[name]
    assert (sizes.deter, sizes.stoch) == widths
    assert (sizes.features, sizes.num_categoricals, sizes.num_classes, sizes.ensemble) == (64, 4, 8, 3)
    assert RSSM(sizes, torch.Generator().manual_seed(0)).cell.weight_ih.shape == (3 * sizes.deter, sizes.stoch + 3)


def test_initial_weights_come_from_the_generator_alone() -> None:
    """Equal seeds give equal weights, others other ones; torch's global generator is neither read nor moved."""
    before = torch.get_rng_state()
    first, again, other = (RSSM(_SMALL, torch.Generator().manual_seed(seed)) for seed in (4, 4, 5))
    for one, two, three in zip(first.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
        assert one.ndim == 1 or not torch.equal(one, three)
    assert torch.equal(torch.get_rng_state(), before)


def test_initial_weights_have_variance_one_over_inputs() -> None:
    """A layer's output has about the variance of its input (LeCun et al. 1998)."""
    weight = RSSM(SIZES["reference"], torch.Generator().manual_seed(0)).cell.weight_hh
    assert float(weight.detach().var()) * 256 == pytest.approx(1.0, abs=0.02)  # 196,608 draws


def test_actions_reach_the_state() -> None:
    """Another action leads to another state, already in the same tick."""
    model = _model()
    state = torch.zeros(1, 5, dtype=torch.float64), torch.full((1, 6), 1 / 3, dtype=torch.float64)
    quiet, jump = torch.zeros(1, 1, 3, dtype=torch.float64), torch.ones(1, 1, 3, dtype=torch.float64)
    assert (model.imagine(state, quiet)[0] - model.imagine(state, jump)[0]).abs().max() > 0.01


def test_outliers_do_not_blow_up_the_embedding() -> None:
    """Features a million standard deviations out still embed within [-1, 1]."""
    assert _model().embed(torch.full((1, 6), 1e6, dtype=torch.float64)).abs().max() <= 1


def test_scan_takes_the_stochastic_columns_of_the_cell() -> None:
    """`RSSM.imagine` is the recurrence with the prior's weights: the same numbers through `latent_scan` itself."""
    model, actions = _model(), _random(2, 1, 3)
    state = torch.zeros(1, 5, dtype=torch.float64), torch.full((1, 6), 1 / 3, dtype=torch.float64)
    inputs = torch.nn.functional.linear(actions, model.cell.weight_ih[:, 6:], model.cell.bias_ih)
    expected = latent_scan(state, inputs, model.prior.bias.expand(2, 1, 6), model.cell, model.prior.weight, 3)
    torch.testing.assert_close(model.imagine(state, actions)[0], expected[0])
