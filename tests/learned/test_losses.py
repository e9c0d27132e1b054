"""Every term of the world model's loss against something written independently."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.kl import grouped_kl

from hpt.learned import world_model as losses
from hpt.learned.rssm import symlog
from hpt.learned.scan import UNIMIX


def _random(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.integers(1, 4), st.integers(2, 5), st.floats(0.1, 20))
def test_kl_is_the_slow_twin(seed: int, categoricals: int, classes: int, scale: float) -> None:
    """KL between unimix categoricals equals the sum of p log(p / q) in plain loops."""
    first, second = _random(2, categoricals * classes, seed=seed, scale=scale)
    log_first, log_second = (losses.log_probabilities(one, classes) for one in (first, second))
    expected = grouped_kl(first.tolist(), second.tolist(), classes, UNIMIX)
    assert float(losses.categorical_kl(log_first, log_second)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_kl_of_equals_is_zero_and_else_positive() -> None:
    """Gibbs' inequality."""
    first, second = (losses.log_probabilities(_random(50, 8, seed=seed), 4) for seed in (0, 1))
    torch.testing.assert_close(losses.categorical_kl(first, first), torch.zeros(50, dtype=torch.float64))
    assert bool((losses.categorical_kl(first, second) > 0).all())


def test_balance_pulls_the_prior_ten_times_as_hard() -> None:
    """The prior gets the gradient of the full KL, the posterior a tenth of its own (DreamerV3: 1 and 0.1)."""
    posterior, prior = (_random(3, 8, seed=seed).requires_grad_() for seed in (0, 1))
    logs = [losses.log_probabilities(one, 4) for one in (posterior, prior)]
    full = torch.autograd.grad(losses.categorical_kl(*logs).mean(), (posterior, prior))
    balanced = torch.autograd.grad(losses.kl_balance(posterior, prior, 4, 0.0), (posterior, prior))
    torch.testing.assert_close(balanced[0], 0.1 * full[0])
    torch.testing.assert_close(balanced[1], full[1])


def test_free_nats_cost_a_constant() -> None:
    """Below the free nats there is no gradient, and the cost is (1 + 0.1) times the free nats."""
    posterior, prior = _random(3, 8, scale=0.1).requires_grad_(), torch.zeros(3, 8, dtype=torch.float64)
    cost = losses.kl_balance(posterior, prior, 4, 1.0)
    assert float(cost.detach()) == pytest.approx(1.1)
    assert float(torch.autograd.grad(cost, posterior)[0].abs().max()) == 0


def test_free_nats_are_counted_tick_by_tick() -> None:
    """A tick far above the free nats is charged in full although the mean lies below."""
    prior, posterior = torch.zeros(10, 4, dtype=torch.float64), torch.zeros(10, 4, dtype=torch.float64)
    posterior[0, 0] = 50.0
    one = grouped_kl(posterior[0].tolist(), [0.0] * 4, 4, UNIMIX)
    assert one > 1
    assert float(losses.kl_balance(posterior, prior, 4, 1.0)) == pytest.approx(1.1 * (one + 9) / 10)


def test_forecast_is_scored_as_a_gaussian() -> None:
    """Within three sigmas: the negative log density of a normal, less its constant, averaged."""
    shift, log_scale = 0.2 * _random(4, 3, 2), 0.1 * _random(4, 3, 2, seed=1)
    errors = _random(4, 3, seed=2).clamp(-1.5, 1.5)
    density = torch.distributions.Normal(shift, log_scale.exp()).log_prob(errors[..., None].expand_as(shift))
    got = losses.forecast_nll(shift, log_scale, errors, torch.ones_like(shift))
    torch.testing.assert_close(got, -density.mean() - 0.5 * math.log(2 * math.pi))


def test_spikes_pull_no_harder_than_three_sigmas() -> None:
    """Beyond the clip the gradient on the shift stays where it was at the clip."""
    shift = torch.zeros(1, 1, 1, requires_grad=True)
    pulls = [
        torch.autograd.grad(
            losses.forecast_nll(shift, torch.zeros(1, 1, 1), torch.full((1, 1), error), torch.ones(1, 1, 1)), shift
        )[0].item()
        for error in (2.0, 3.0, 300.0)
    ]
    assert pulls == pytest.approx([-2.0, -3.0, -3.0])


def test_unknown_horizons_do_not_count() -> None:
    """An error with weight 0 changes nothing, whatever it says."""
    shift, log_scale, errors = _random(3, 2, 2), _random(3, 2, 2, seed=1), _random(3, 2, seed=2)
    weights = torch.ones(3, 2, 2, dtype=torch.float64)
    weights[2] = 0
    wild = errors.clone()
    wild[2] = 1e6
    known = losses.forecast_nll(shift[:2], log_scale[:2], errors[:2], weights[:2])
    torch.testing.assert_close(losses.forecast_nll(shift, log_scale, wild, weights), known)


@given(st.floats(-1e6, 1e6))
@settings(max_examples=30, deadline=None)
def test_symlog_has_symexp_as_inverse(x: float) -> None:
    """sign(y) (e^|y| - 1) brings x back (DreamerV3, equation 9)."""
    y = float(symlog(torch.tensor(x, dtype=torch.float64)))
    assert math.copysign(math.expm1(abs(y)), y) == pytest.approx(x, rel=1e-9, abs=1e-12)
