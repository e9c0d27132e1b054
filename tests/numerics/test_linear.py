"""Small linear algebra against textbook least squares."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.errors import CheckpointError
from hpt.numerics.linear import RidgeRegressor


def batch_ridge(inputs: np.ndarray, targets: np.ndarray, penalty: float, forgetting: float) -> np.ndarray:
    """Weighted ridge as ordinary least squares on rows scaled by sqrt(weight), with penalty rows below."""
    scale = np.sqrt(forgetting ** np.arange(len(targets) - 1, -1, -1))
    rows = np.concatenate([inputs * scale[:, None], np.sqrt(penalty) * np.eye(inputs.shape[1])])
    values = np.concatenate([targets * scale, np.zeros(inputs.shape[1])])
    return np.linalg.lstsq(rows, values, rcond=None)[0]


def observed(inputs: np.ndarray, targets: np.ndarray, penalty: float, forgetting: float) -> RidgeRegressor:
    regressor = RidgeRegressor(inputs.shape[1], penalty, forgetting)
    for row, target in zip(inputs, targets.tolist(), strict=True):
        regressor.observe(row, target)
    return regressor


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    count=st.integers(0, 30),
    size=st.integers(1, 6),
    penalty=st.floats(0.01, 10.0),
    forgetting=st.floats(0.8, 1.0),
)
def test_running_ridge_equals_the_batch_solution(
    seed: int, count: int, size: int, penalty: float, forgetting: float
) -> None:
    """Row by row gives the weighted ridge solution over all rows, also with fewer rows than columns."""
    generator = np.random.default_rng(seed)
    inputs, targets = generator.standard_normal((count, size)), generator.standard_normal(count)
    weights = observed(inputs, targets, penalty, forgetting).weights
    np.testing.assert_allclose(weights, batch_ridge(inputs, targets, penalty, forgetting), rtol=1e-7, atol=1e-9)


def test_variance_is_the_bayesian_one() -> None:
    """Predicted variance is s^2 (1 + x' (A + penalty)^-1 x), s^2 from the errors one step ahead."""
    generator = np.random.default_rng(0)
    inputs, targets = generator.standard_normal((12, 3)), generator.standard_normal(12)
    query = np.array([1.0, -2.0, 0.5])
    squares, information = 1.0, 0.7 * np.eye(3)
    for row, target, weights in zip(
        inputs, targets, [batch_ridge(inputs[:n], targets[:n], 0.7, 1.0) for n in range(12)], strict=True
    ):
        squares += (target - weights @ row) ** 2 / (1 + row @ np.linalg.inv(information) @ row)
        information += np.outer(row, row)
    expected = squares / 13 * (1 + query @ np.linalg.inv(information) @ query)
    mean, variance = observed(inputs, targets, 0.7, 1.0).predict(query)
    assert variance == pytest.approx(expected, rel=1e-9)
    assert mean == pytest.approx(batch_ridge(inputs, targets, 0.7, 1.0) @ query, rel=1e-9)


def test_variance_matches_the_errors_it_predicts() -> None:
    """On data of the model's own kind, squared errors average their predicted variance."""
    generator = np.random.default_rng(5)
    truth = generator.standard_normal(4)
    regressor, scores = RidgeRegressor(4, 1.0, 1.0), []
    for row in generator.standard_normal((3000, 4)):
        target = float(row @ truth + 0.3 * generator.standard_normal())
        mean, variance = regressor.predict(row)
        scores.append((target - mean) ** 2 / variance)
        regressor.observe(row, target)
    assert np.mean(scores[500:]) == pytest.approx(1.0, abs=0.08)  # three standard errors of 2500 chi-squares


def test_penalty_is_not_forgotten() -> None:
    """After ten thousand empty observations the weights are back at 0 and nothing has blown up."""
    generator = np.random.default_rng(1)
    regressor = observed(generator.standard_normal((20, 3)), generator.standard_normal(20), 0.5, 0.9)
    before = np.abs(regressor.weights).max()
    for _ in range(10_000):
        regressor.observe(np.zeros(3), 0.0)
    mean, variance = regressor.predict(np.ones(3))
    assert before > 0.05
    assert abs(mean) < 1e-12
    assert 0 <= variance < 1e-12


def test_forgetting_follows_a_change() -> None:
    """When the truth flips sign, forgetting finds the new one and remembering everything does not."""
    generator = np.random.default_rng(2)
    inputs = generator.standard_normal((400, 2))
    targets = inputs @ [1.0, -1.0] * np.where(np.arange(400) < 300, 1.0, -1.0)
    np.testing.assert_allclose(observed(inputs, targets, 0.1, 0.9).weights, [-1.0, 1.0], atol=0.02)
    assert observed(inputs, targets, 0.1, 1.0).weights[0] > 0


def test_ridge_state_continues_bit_for_bit() -> None:
    """Saved and loaded half-way, a regression predicts the same bits."""
    generator = np.random.default_rng(3)
    inputs, targets = generator.standard_normal((20, 3)), generator.standard_normal(20)
    whole, first = observed(inputs, targets, 0.5, 0.95), observed(inputs[:9], targets[:9], 0.5, 0.95)
    second = RidgeRegressor(3, 0.5, 0.95)
    second.load_state_dict(first.state_dict())
    for row, target in zip(inputs[9:], targets[9:].tolist(), strict=True):
        second.observe(row, target)
    assert whole.predict(inputs[0]) == second.predict(inputs[0])


def test_ridge_refuses_another_size() -> None:
    """A regression over other features cannot continue the saved one."""
    with pytest.raises(CheckpointError, match="information was saved with shape"):
        RidgeRegressor(4, 1.0, 1.0).load_state_dict(RidgeRegressor(3, 1.0, 1.0).state_dict())
