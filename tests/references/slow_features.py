"""The features of single steps and of cycles written straight from their definitions, over the whole history."""

import numpy as np
from numpy.typing import NDArray

from hpt.history import StepStats

Series = NDArray[np.float64]


def averages(series: Series, scale: float) -> Series:
    """At each place, the mean of what came so far with weights (1 - 1/scale)^age."""
    result = np.zeros(len(series))
    for end in range(1, len(series) + 1):
        weights = (1 - 1 / scale) ** np.arange(end - 1, -1, -1)
        result[end - 1] = weights @ series[:end] / weights.sum()
    return result


def noises(series: Series, scale: float) -> Series:
    """Each number minus the average before it; 0 for the first."""
    return np.concatenate([[0.0], series[1:] - averages(series, scale)[:-1]])


def lagged(series: Series, lag: int, before: float) -> Series:
    """The series `lag` places earlier, `before` where there is none."""
    return np.concatenate([np.full(lag, before), series])[: len(series)]


def ranks(series: Series, window: int) -> float:
    """Mid-rank of the last number among the last `window`."""
    kept = series[-window:]
    return float((np.sum(kept < kept[-1]) + 0.5 * np.sum(kept == kept[-1])) / len(kept))


def last_run(signs: Series) -> float:
    """Signed length of the run of equal signs at the end."""
    length = 0
    for sign in signs[::-1]:
        if sign != signs[-1] or sign == 0:
            break
        length += 1
    return float(signs[-1] * length)


def step_features(steps: StepStats) -> dict[str, float]:
    """All step features of two parameter groups after the last of `steps`."""
    loss, grad, groups, lr = steps.loss, np.log(steps.grad_norm), np.log(steps.group_grad_norms), steps.lr_frac

    def last(series: Series, scale: float) -> float:
        return float(averages(series, scale)[-1])

    noise, grad_noise = noises(loss, 16), noises(grad, 8)
    sigma = np.sqrt(last(noise**2, 64))
    features = {"loss": loss[-1], "loss_now_2": (loss[-1] - last(loss, 2)) / sigma}
    for scale in (2, 4, 8, 16, 32, 64, 128):
        features[f"loss_{scale}_{2 * scale}"] = (last(loss, scale) - last(loss, 2 * scale)) / sigma
    features |= {
        "loss_above_low": (last(loss, 4) - loss.min()) / sigma,
        "loss_since_low": np.log(len(loss) - int(np.argmin(loss))),
        "loss_rank": ranks(loss, 64),
        "loss_streak": last_run(np.sign(noise)),
        "loss_falls": last(np.sign(lagged(loss, 1, loss[0]) - loss), 32),
        "loss_spread_8": 0.5 * np.log(last(noise**2, 8) / last(noise**2, 64)),
        "loss_spread_32": 0.5 * np.log(last(noise**2, 32) / last(noise**2, 128)),
        "loss_noise": np.log(sigma / abs(last(loss, 64))),
        "loss_skew": last(noise**3, 64) / sigma**3,
        "grad": grad[-1],
        "grad_now_2": grad[-1] - last(grad, 2),
        "grad_2_8": last(grad, 2) - last(grad, 8),
        "grad_8_32": last(grad, 8) - last(grad, 32),
        "grad_32_128": last(grad, 32) - last(grad, 128),
        "grad_rank": ranks(grad, 64),
        "grad_spread_16": 0.5 * np.log(last(grad_noise**2, 16) / last(grad_noise**2, 64)),
        "grad_spread": 0.5 * np.log(last(grad_noise**2, 64)),
        "grad_acf_1": last(grad_noise * lagged(grad_noise, 1, 0.0), 64) / last(grad_noise**2, 64),
    }
    for lag in (1, 2, 4):
        features[f"loss_acf_{lag}"] = last(noise * lagged(noise, lag, 0.0), 64) / sigma**2
    joint = sigma * np.sqrt(last(grad_noise**2, 64))
    balance = groups[:, 0] - groups[:, 1]
    balance_noise = noises(balance, 16)
    spread = np.sqrt(last(balance_noise**2, 64))
    trend = last(loss, 16) - last(loss, 64)
    pressure = np.log(lr) + grad
    return features | {
        "grad_loss": last(noise * grad_noise, 64) / joint,
        "grad_loss_lag": last(noise * lagged(grad_noise, 1, 0.0), 64) / joint,
        "group_fast": balance[-1] - last(balance, 16),
        "group_slow": last(balance, 16) - last(balance, 128),
        "group_spread": np.log(spread),
        "group_loss": last(balance_noise * noise, 64) / (sigma * spread),
        "group_other": last(balance - lagged(balance, 3, balance[0]), 16),
        "log_step": np.log(1 + steps.step[-1]),
        "lr_grad": last(pressure, 2),
        "lr_grad_change": last(pressure, 2) - last(pressure, 64),
        "noise_per_grad": np.log(sigma) - last(grad, 32),
        "trend_strength": np.log(abs(trend) / sigma + 0.01),
        "descent_per_grad": -trend / last(np.exp(pressure), 64),
    }


def cycle_angles(displacements: Series, mu: float) -> dict[str, float]:
    """Angle, size, lagged angle and coherence of one time scale after all of `displacements` (cycles, P)."""

    def ema(end: int) -> tuple[Series, Series]:
        weights = mu ** np.arange(end - 1, -1, -1, dtype=np.float64)
        weights = weights / weights.sum()
        return weights, weights @ displacements[:end]

    def cosine(one: Series, other: Series) -> float:
        return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))

    last = displacements[-1]
    weights, mean = ema(len(displacements))
    norms = np.linalg.norm(displacements, axis=1)
    pairs = np.outer(weights, weights) * (1 - np.eye(len(weights)))
    return {
        "angle": cosine(last, mean),
        "size": float(np.log(np.linalg.norm(mean) / np.linalg.norm(last))),
        "lagged_angle": cosine(last, ema(len(displacements) - 1)[1]),
        "coherence": float((pairs * (displacements @ displacements.T)).sum() / (pairs * np.outer(norms, norms)).sum()),
    }
