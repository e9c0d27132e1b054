"""The loss of a batch and the optimizer's step."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hpt.learned.replay import Windows
from hpt.learned.rssm import Sizes
from hpt.learned.world_model import ModelOptimizer, WorldModel

_SIZES = Sizes(features=5, deter=4, num_categoricals=2, num_classes=3, embed=4, trunk=4, ensemble=2)
_O, _H, _B = 3, 4, 3


def _model(seed: int = 0) -> WorldModel:
    """A model whose heads are no longer zero, so that every parameter matters."""
    generator = torch.Generator().manual_seed(seed)
    model = WorldModel(_SIZES, generator)
    with torch.no_grad():
        for parameter in (model.heads.heads.weight, model.heads.anchors.weight):
            parameter.copy_(0.2 * torch.rand(parameter.shape, generator=generator))
    return model


def _windows(seed: int = 0) -> Windows:
    draw = np.random.default_rng(seed)
    normal = lambda *shape: draw.standard_normal(shape).astype(np.float32)  # noqa: E731
    valid = np.ones((_H, _B), np.float32)
    valid[-1, 0] = 0
    return Windows(
        deter=np.tanh(normal(_B, 4)),
        stoch=np.full((_B, 6), 1 / 3, np.float32),
        features=normal(_O, _B, 5),
        actions=normal(_O + _H, _B, 3),
        errors=normal(_H, _B),
        anchors=normal(_H, _B, 5),
        masks=2 * draw.integers(0, 2, (_B, 2)).astype(np.float32) + 0.5,
        valid=valid,
        new=valid,
    )


@pytest.mark.parametrize(
    "name", ["rssm.cell.weight_hh", "rssm.encoder.weight", "rssm.posterior.bias", "heads.trunk.weight"]
)
def test_gradient_of_the_whole_loss_is_a_finite_difference(name: str) -> None:
    """Along a random direction in one parameter, central differences in float64 agree with backward.

    The KL has stopped gradients, which differences cannot see; more free nats than it can have take it out.
    """
    model, windows = _model().double(), _windows()
    parameter = dict(model.named_parameters())[name]
    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
    model.loss(windows, None, 50.0)[0].backward()
    assert parameter.grad is not None
    slope = float((parameter.grad * direction).sum())
    around: list[float] = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter.add_(sign * 1e-6 * direction)
            around.append(float(model.loss(windows, None, 50.0)[0]))
            parameter.add_(-sign * 1e-6 * direction)
    assert slope == pytest.approx((around[0] - around[1]) / 2e-6, rel=1e-5)


def test_anchors_are_fitted_without_the_latent() -> None:
    """What the latent says changes nothing about the anchors' gradient; what the anchors leave over is its task."""
    grads: list[torch.Tensor] = []
    for factor in (1.0, 5.0):
        model = _model()
        with torch.no_grad():
            model.heads.heads.weight.mul_(factor)
        model.loss(_windows(), None, 1.0)[0].backward()
        assert model.heads.anchors.weight.grad is not None
        grads.append(model.heads.anchors.weight.grad)
    torch.testing.assert_close(grads[0], grads[1])
    assert float(grads[0].abs().max()) > 1e-3


def test_unknown_errors_do_not_reach_any_parameter() -> None:
    """An error that is marked as not yet known may be anything."""
    grads: list[torch.Tensor] = []
    for wrong in (0.0, 50.0):
        model, windows = _model(), _windows()
        errors = windows.errors.copy()
        errors[-1, 0] = wrong
        model.loss(replace(windows, errors=errors), None, 1.0)[0].backward()
        assert model.heads.heads.weight.grad is not None
        grads.append(model.heads.heads.weight.grad)
    assert torch.equal(grads[0], grads[1])


def test_outlook_splits_the_forecast() -> None:
    """Residuals are errors less the anchored part; untrained, shifts and log scales are exactly zero."""
    model, windows = WorldModel(_SIZES, torch.Generator().manual_seed(0)), _windows()
    with torch.no_grad():
        model.heads.anchors.weight[:, 1] = 0.5
    _, outlook = model.loss(windows, None, 1.0)
    np.testing.assert_allclose(outlook.residuals, windows.errors - 0.5 * windows.anchors[..., 1], atol=1e-6)
    assert np.abs(outlook.shifts).max() == 0
    assert np.abs(outlook.log_scales).max() == 0


def test_updates_bring_the_loss_down() -> None:
    """Thirty steps on one batch fit it better than none."""
    model, windows = _model(), _windows()
    optimizer = ModelOptimizer(model, 1e-2)
    costs: list[float] = []
    for _ in range(30):
        loss = model.loss(windows, None, 1.0)[0]
        costs.append(float(loss.detach()))
        optimizer.step(loss)
    assert costs[-1] < costs[0] - 0.3


def test_anchors_stay_between_none_and_all_of_a_gap() -> None:
    """Pushed either way by errors of one sign, no anchor leaves [0, 1]."""
    for sign in (-1.0, 1.0):
        model, windows = _model(), _windows()
        pushed = replace(windows, errors=np.full_like(windows.errors, 3 * sign), anchors=np.ones_like(windows.anchors))
        optimizer = ModelOptimizer(model, 2e-2)
        for _ in range(10):
            optimizer.step(model.loss(pushed, None, 1.0)[0])
        weight = model.heads.anchors.weight.detach()
        assert 0 <= float(weight.min()) <= float(weight.max()) <= 1
        assert float(weight.max()) == 0 if sign < 0 else float(weight.min()) > 0.2


def test_an_update_without_a_finite_gradient_is_left_out() -> None:
    """A loss of NaN moves no parameter."""
    model = _model()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    ModelOptimizer(model, 1e-2).step(model.loss(_windows(), None, 1.0)[0] * float("nan"))
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), before, strict=True))


def test_optimizer_continues_exactly() -> None:
    """Restored moments and weights take the same next step, bit for bit."""
    first = _model()
    optimizer = ModelOptimizer(first, 1e-2)
    optimizer.step(first.loss(_windows(), None, 1.0)[0])
    second = _model(seed=9)
    second.load_state_dict(first.state_dict())
    resumed = ModelOptimizer(second, 1e-2)
    resumed.load_state_dict(optimizer.state_dict())
    for model, adam in ((first, optimizer), (second, resumed)):
        adam.step(model.loss(_windows(1), None, 1.0)[0])
    assert all(torch.equal(one, two) for one, two in zip(first.parameters(), second.parameters(), strict=True))
