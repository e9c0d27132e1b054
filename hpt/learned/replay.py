"""Bounded memory of the run: every tick, with the latent it led to and the forecasts it was the origin of.

A window is `observed` ticks to filter, from the latent stored before the first, followed by `horizon` ticks whose
losses are known but whose features are not shown: the model has to imagine them. Latents were made by older weights;
the observed ticks burn them in (Kapturowski et al. 2019, "R2D2"). What is to be forecast is the error that the trend
made, by its curve at the end of the cycle in which the forecast started, so that the model corrects forecasts as they
were and not as hindsight would have them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt.history import FloatArray
from hpt.learned.actions import ACTION_SIZE
from hpt.learned.forecast_model import Vector
from hpt.learned.rssm import NUM_ANCHORS
from hpt.numerics.running import ema_scan
from hpt.numerics.stateful import Stateful

_SLOW_GAINS = np.array([1 / 32, 1 / 64, 1 / 128, 1 / 256])  # of the averages that anchor forecasts; the level has 1/16
_ANCHOR_CLIP = 3.0  # of the trend's scales: after the first ticks, when the loss falls fastest, averages are far off
_NUM_NEW = 4  # windows spread over what is new; the rest of the batch is drawn


@dataclass(frozen=True, slots=True)
class Windows:
    """B windows of O observed and H imagined ticks, time first.

    Attributes:
        deter: (B, D) deterministic state before the first tick.
        stoch: (B, S) stochastic state there.
        features: (O, B, 64).
        actions: (O + H, B, 3).
        errors: (H, B) loss minus the trend's forecast, in its scales; 0 where not yet known.
        anchors: (H, B, 5), see `anchors`.
        masks: (B, E) bootstrap weight of the last observed tick for each head.
        valid: (H, B) 1 where the error is known.
        new: (H, B) 1 where it has never been learned from.
    """

    deter: Vector
    stoch: Vector
    features: Vector
    actions: Vector
    errors: Vector
    anchors: Vector
    masks: Vector
    valid: Vector
    new: Vector


def anchors(gaps: NDArray[Any], means: NDArray[Any], scales: NDArray[Any]) -> Vector:
    """What the heads read besides the latent, in units of the trend's scales, clipped to +-3.

    Args:
        gaps: (..., 4) slower averages of the loss minus its level.
        means: (..., H) change that the trend expects.
        scales: (..., H) its standard deviations.

    Returns:
        (..., H, 5): the four gaps and the expected change, negative, each over the scale.
    """
    stacked = np.empty((*means.shape, NUM_ANCHORS))
    stacked[..., :-1] = gaps[..., None, :]
    stacked[..., -1] = -means
    stacked /= scales[..., None]
    return np.clip(stacked, -_ANCHOR_CLIP, _ANCHOR_CLIP).astype(np.float32)


class Replay(Stateful):
    """Ring of the last `capacity` ticks, numbered from 0.

    Args:
        capacity: ticks kept.
        sizes: of features, deterministic and stochastic state, and the number of heads.
        max_horizon: ticks imagined in a window.
        first_tick: before it averages and latents are not ripe enough to forecast from.
    """

    _state = ("num_ticks", "_num_closed", "_slow", "_slow_weight")

    def __init__(self, capacity: int, sizes: tuple[int, int, int, int], max_horizon: int, *, first_tick: int) -> None:
        self.num_ticks = 0
        self._capacity, self._max_horizon, self._first_tick = capacity, max_horizon, first_tick
        num_features, deter, stoch, heads = sizes
        widths = {"features": num_features, "actions": ACTION_SIZE, "deter": deter, "stoch": stoch, "masks": heads}
        widths |= {"gaps": len(_SLOW_GAINS), "means": max_horizon, "scales": max_horizon}
        self._arrays = {name: np.zeros((capacity, width), dtype=np.float32) for name, width in widths.items()}
        self._losses, self._levels = np.zeros((2, capacity))
        self._slow, self._slow_weight = np.zeros(len(_SLOW_GAINS)), np.ones(len(_SLOW_GAINS))
        self._num_closed = 0

    def append(
        self, features: Vector, actions: Vector, losses: FloatArray, levels: FloatArray, latents: tuple[Vector, Vector]
    ) -> None:
        """Store n ticks: features (n, F), actions (n, 3), losses, levels, and the latents (n, D), (n, S) after each."""
        num = len(losses)
        at = np.arange(self.num_ticks, self.num_ticks + num) % self._capacity
        slow = ema_scan(self._slow, np.repeat(losses[:, None], len(self._slow), axis=1), np.tile(_SLOW_GAINS, (num, 1)))
        weights = np.multiply.accumulate(np.vstack((self._slow_weight, np.tile(1 - _SLOW_GAINS, (num, 1)))))[1:]
        self._slow[:], self._slow_weight[:] = slow[-1], weights[-1]
        rows = {"features": features, "actions": actions, "deter": latents[0], "stoch": latents[1]}
        rows["gaps"] = (slow / (1 - weights) - levels[:, None]).astype(np.float32)
        for name, one in rows.items():
            self._arrays[name][at] = one
        self._losses[at], self._levels[at] = losses, levels
        self.num_ticks += num

    def close_block(self, means: NDArray[Any], scales: NDArray[Any], masks: NDArray[Any]) -> None:
        """Give the ticks since the last call the trend's curve (H,), (H,) and a bootstrap weight for each head (E,)."""
        oldest = max(self._num_closed, self.num_ticks - self._capacity)
        at = np.arange(oldest, self.num_ticks) % self._capacity
        for name, row in (("means", means), ("scales", scales), ("masks", masks)):
            self._arrays[name][at] = row
        self._num_closed = self.num_ticks

    def gaps(self) -> Vector:
        """Slower averages of the loss minus its level, (4,), after the newest tick."""
        return self._arrays["gaps"][(self.num_ticks - 1) % self._capacity]

    def sample(
        self, batch: int, observed: int, generator: np.random.Generator, *, new_from: int | None
    ) -> Windows | None:
        """Draw windows of which at least the near half is known; None while there are too few ticks for one.

        Args:
            batch: B.
            observed: O.
            generator: of the draws.
            new_from: first tick whose loss has never been learned from; up to four of the windows are then spread
                over all forecasts that such losses are the answer to. None: nothing is new.
        """
        first = max(self.num_ticks - self._capacity + observed, self._first_tick, observed)
        last = self.num_ticks - 1 - (self._max_horizon + 1) // 2
        if last < first:
            return None
        origins = generator.integers(first, last + 1, size=batch)  # the last observed tick of each window
        if new_from is None:
            return self._windows(origins, observed, self.num_ticks)
        spread = np.linspace(max(first, new_from - self._max_horizon), self.num_ticks - 2, min(batch, _NUM_NEW))
        origins[: len(spread)] = spread.astype(np.int64)
        return self._windows(origins, observed, new_from)

    def _windows(self, origins: NDArray[np.int64], observed: int, new_from: int) -> Windows:
        """Windows by their origins (B,)."""
        arrays, capacity, horizon = self._arrays, self._capacity, self._max_horizon
        ticks = origins + np.arange(1 - observed, horizon + 1)[:, None]  # (O + H, B)
        at = np.minimum(ticks, self.num_ticks - 1) % capacity
        origin, before = origins % capacity, (origins - observed) % capacity
        valid = (ticks[observed:] < self.num_ticks).astype(np.float32)
        means, scales = arrays["means"][origin], arrays["scales"][origin]
        errors = (self._losses[at[observed:]] - self._levels[origin] - means.T) / scales.T
        return Windows(
            deter=arrays["deter"][before],
            stoch=arrays["stoch"][before],
            features=arrays["features"][at[:observed]],
            actions=arrays["actions"][at],
            errors=(errors * valid).astype(np.float32),
            anchors=anchors(arrays["gaps"][origin], means, scales).swapaxes(0, 1),
            masks=arrays["masks"][origin],
            valid=valid,
            new=valid * (ticks[observed:] >= new_from),
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit; rows that were never written are left out."""
        used = slice(0, min(self.num_ticks, self._capacity))
        rows = {"losses": self._losses, "levels": self._levels, **self._arrays}
        return {**super().state_dict(), "rows": {name: array[used].copy() for name, array in rows.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        for name, array in {"losses": self._losses, "levels": self._levels, **self._arrays}.items():
            array[: min(self.num_ticks, self._capacity)] = state["rows"][name]
