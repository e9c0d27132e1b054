"""The heads before learning, under bootstrap weights, and away from what they have seen."""

import pytest
import torch

from hpt.learned import world_model
from hpt.learned.rssm import MAX_LOG_SCALE, EnsembleHeads, Sizes

_SIZES = Sizes(features=6, deter=4, num_categoricals=1, num_classes=4, embed=4, trunk=16, ensemble=3)


def _heads(seed: int = 0) -> EnsembleHeads:
    return EnsembleHeads(_SIZES, torch.Generator().manual_seed(seed))


def _states(num: int, seed: int, offset: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    deter = offset + 0.3 * torch.randn(num, 4, generator=torch.Generator().manual_seed(seed))
    return deter, torch.full((num, 4), 0.25)


def test_untrained_heads_say_nothing() -> None:
    """Exact zeros for shift and log scale, whatever the state."""
    out = _heads()(*_states(20, seed=1))
    for part in (out.shift, out.log_scale):
        assert float(part.detach().abs().max()) == 0.0
    assert float(_heads().anchors.weight.detach().abs().max()) == 0.0


def test_outputs_have_a_row_for_every_head() -> None:
    """(..., E) for shift and scale, for any leading shape."""
    deter, stoch = torch.zeros(7, 2, 4), torch.zeros(7, 2, 4)
    out = _heads()(deter, stoch)
    assert out.shift.shape == out.log_scale.shape == (7, 2, 3)


def test_scale_is_bounded_smoothly() -> None:
    """However far the raw output runs, the scale stays within e^+-1.5, and near zero it is the raw output."""
    heads = _heads()
    for raw in (1e4, 1e-3):
        with torch.no_grad():
            heads.heads.bias[3:6] = raw
        log_scale = heads(*_states(1, seed=0)).log_scale.detach()
        expected = MAX_LOG_SCALE if raw > 1 else raw
        torch.testing.assert_close(log_scale, torch.full((1, 3), expected), rtol=1e-5, atol=0)


def test_a_head_left_out_by_the_bootstrap_learns_nothing() -> None:
    """With weight 0 for the second head, only the others get a gradient from the forecast."""
    heads = _heads()
    out = heads(*_states(8, seed=2))
    weights = torch.tensor([2.0, 0.0, 2.0]).expand(1, 8, 3)
    world_model.forecast_nll(out.shift[None], out.log_scale[None], torch.full((1, 8), 2.0), weights).backward()
    grad = heads.heads.weight.grad
    assert grad is not None
    moved = grad.abs().sum(1) > 0  # three shifts, then three scales
    assert moved.tolist() == [True, False, True] * 2


def test_heads_disagree_most_where_they_saw_nothing() -> None:
    """Trained on one region with bootstrap weights, heads spread several times wider on another."""
    heads = _heads(seed=3)
    generator = torch.Generator().manual_seed(4)
    deter, stoch = _states(64, seed=5)
    errors = deter.sum(1) + 0.5 * torch.randn(64, generator=generator)
    masks = 2.0 * torch.randint(0, 2, (64, 3), generator=generator)
    adam = torch.optim.Adam(heads.parameters(), lr=3e-2)
    for _ in range(50):
        out = heads(deter, stoch)
        cost = world_model.forecast_nll(out.shift[None], out.log_scale[None], errors[None], masks[None])
        adam.zero_grad()
        cost.backward()
        adam.step()
    near, far = (heads(*states).shift.detach().std(-1).mean() for states in (_states(64, 6), _states(64, 7, -3.0)))
    assert float(far) > 2 * float(near)


@pytest.mark.parametrize("seed", [0, 1])
def test_initial_trunk_is_drawn_from_the_generator(seed: int) -> None:
    """The same seed gives the same trunk, and torch's global generator is not touched."""
    before = torch.get_rng_state()
    assert torch.equal(_heads(seed).trunk.weight, _heads(seed).trunk.weight)
    assert not torch.equal(_heads(seed).trunk.weight, _heads(seed + 1).trunk.weight)
    assert torch.equal(torch.get_rng_state(), before)
