"""Full-batch least squares: closed forms for chance, optimum and trajectory."""

import numpy as np
import pytest
import torch
from torch import nn

from hpt.workloads.regression import Regression, _truth, target_variance

CPU = torch.device("cpu")


def linear(workload: Regression) -> nn.Linear:
    model = workload.build_model()
    assert isinstance(model, nn.Linear)
    return model


def test_chance_level_is_the_variance_of_the_targets() -> None:
    """The closed form against the sample variance of 4,096 held-out and of 20 x 512 training targets."""
    (_, held_out), *_ = Regression(seed=0, device=CPU).validation_batches()
    seen = torch.cat([Regression(seed=seed, device=CPU).batch(0)[1] for seed in range(20)])
    assert float(held_out.var()) == pytest.approx(target_variance(), rel=0.1)
    assert float(seen.var()) == pytest.approx(target_variance(), rel=0.06)


def test_chance_level_counts_every_input_and_the_noise() -> None:
    """Variances of independent terms add: each weight times its input's spread, and noise of 0.5."""
    weights, _ = _truth()
    terms = [float(weight * 0.003 ** (place / 31)) ** 2 for place, weight in enumerate(weights)]
    assert target_variance() == pytest.approx(sum(terms) + 0.25, rel=1e-12)
    assert float(Regression(seed=3, device=CPU).optimal_loss()) == pytest.approx(0.25, rel=0.25)


def test_every_batch_is_the_same_tensors() -> None:
    """Full batch: no copy, no noise, whatever the index."""
    workload = Regression(seed=0, device=CPU)
    assert all(workload.batch(9)[part] is workload.batch(0)[part] for part in (0, 1))


def test_seeds_share_the_problem_but_not_the_samples() -> None:
    """Least-squares weights of two seeds, per unit of input, agree within their noise; samples differ."""
    fits: list[np.ndarray] = []
    for seed in (0, 1):
        inputs, targets = (part.double().numpy() for part in Regression(seed=seed, device=CPU).batch(0))
        scaled = np.column_stack([inputs / inputs.std(axis=0), np.ones(512)])
        fits.append(np.linalg.lstsq(scaled, targets[:, 0], rcond=None)[0])
    assert not torch.equal(Regression(seed=0, device=CPU).batch(0)[0], Regression(seed=1, device=CPU).batch(0)[0])
    np.testing.assert_allclose(fits[0], fits[1], atol=0.25)  # 0.5 / sqrt(512) each, and 4 % of each scale


def test_no_weights_do_better_than_the_optimal_loss() -> None:
    """The gradient at the closed-form optimum vanishes, and its loss is the one stated."""
    workload = Regression(seed=0, device=CPU)
    inputs, targets = (part.double() for part in workload.batch(0))
    design = torch.cat([inputs, torch.ones(len(inputs), 1, dtype=torch.float64)], dim=1)
    weights = torch.linalg.solve(design.T @ design, design.T @ targets).requires_grad_()
    loss = ((design @ weights - targets) ** 2).mean()
    (gradient,) = torch.autograd.grad(loss, weights)
    assert float(gradient.abs().max()) < 1e-10
    assert float(loss.detach()) == pytest.approx(workload.optimal_loss(), rel=1e-10)
    assert workload.description["optimal_training_loss"] == workload.optimal_loss()


def test_loss_is_quadratic_in_the_weights() -> None:
    """Along any line the loss is a parabola: its third difference is zero up to float32 rounding."""
    workload = Regression(seed=0, device=CPU)
    model = linear(workload)
    losses: list[float] = []
    for _ in range(4):
        losses.append(float(workload.loss(model, workload.batch(0)).detach()))
        with torch.no_grad():
            model.weight += 0.3
    third = losses[3] - 3 * losses[2] + 3 * losses[1] - losses[0]
    assert abs(third) < 1e-5 * max(losses)


def test_training_gets_below_chance() -> None:
    """150 updates with the workload's own optimizer fall under half of the targets' variance."""
    workload = Regression(seed=0, device=CPU)
    model = linear(workload)
    optimizer = workload.build_optimizer(model)
    scheduler = workload.build_scheduler(optimizer, 150)
    assert workload.clip_norm is None
    for index in range(150):
        workload.loss(model, workload.batch(index)).backward()
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    assert workload.validation_loss(model) < workload.chance_loss / 2
    assert float(workload.loss(model, workload.batch(0)).detach()) > workload.optimal_loss()
