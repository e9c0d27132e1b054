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

from hpt.learned.ensemble import NUM_ANCHORS
from hpt.learned.forecast import ACTION_SIZE, Vector

FIRST_TICK = 20
"""Ticks before the first whose averages and latent are ripe enough to forecast from."""
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
    """What the loss heads read besides the latent, in units of the trend's scales, clipped to +-3.

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


class Replay:
    """Ring of the last `capacity` ticks, numbered from 0.

    Args:
        capacity: ticks kept.
        sizes: of features, deterministic and stochastic state, and the number of heads.
        max_horizon: ticks imagined in a window.
    """

    def __init__(self, capacity: int, sizes: tuple[int, int, int, int], max_horizon: int) -> None:
        self.num_ticks = 0
        self._capacity, self._max_horizon = capacity, max_horizon
        num_features, deter, stoch, heads = sizes
        widths = {"features": num_features, "actions": ACTION_SIZE, "deter": deter, "stoch": stoch, "masks": heads}
        widths |= {"gaps": len(_SLOW_GAINS), "means": max_horizon, "scales": max_horizon}
        self._arrays = {name: np.zeros((capacity, width), dtype=np.float32) for name, width in widths.items()}
        self._losses, self._levels = np.zeros((2, capacity))
        self._slow, self._slow_weight = np.zeros(len(_SLOW_GAINS)), np.ones(len(_SLOW_GAINS))
        self._num_closed = 0

    def append(self, features: Vector, action: Vector, loss: float, level: float) -> None:
        """Store a tick; `put_latent` adds the latent it leads to."""
        at = self.num_ticks % self._capacity
        self._slow += _SLOW_GAINS * (loss - self._slow)
        self._slow_weight *= 1 - _SLOW_GAINS
        self._arrays["features"][at] = features
        self._arrays["actions"][at] = action
        self._arrays["gaps"][at] = self._slow / (1 - self._slow_weight) - level
        self._losses[at], self._levels[at] = loss, level
        self.num_ticks += 1

    def put_latent(self, deter: Vector, stoch: Vector) -> None:
        """Store the latent (D,), (S,) that the newest tick led to."""
        at = (self.num_ticks - 1) % self._capacity
        self._arrays["deter"][at], self._arrays["stoch"][at] = deter, stoch

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

    def latent(self, tick: int) -> tuple[Vector, Vector] | None:
        """Latent after tick number `tick`, None if it is not, or no longer, there."""
        if not max(0, self.num_ticks - self._capacity) <= tick < self.num_ticks:
            return None
        at = tick % self._capacity
        return self._arrays["deter"][at].copy(), self._arrays["stoch"][at].copy()

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
        first = max(self.num_ticks - self._capacity + observed, FIRST_TICK, observed)
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
        used = min(self.num_ticks, self._capacity)
        return {
            "num_ticks": self.num_ticks,
            "num_closed": self._num_closed,
            "slow": self._slow.copy(),
            "slow_weight": self._slow_weight.copy(),
            "losses": self._losses[:used].copy(),
            "levels": self._levels[:used].copy(),
            "arrays": {name: array[:used].copy() for name, array in self._arrays.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.num_ticks, self._num_closed = int(state["num_ticks"]), int(state["num_closed"])
        self._slow[:], self._slow_weight[:] = state["slow"], state["slow_weight"]
        used = min(self.num_ticks, self._capacity)
        self._losses[:used], self._levels[:used] = state["losses"], state["levels"]
        for name, array in self._arrays.items():
            array[:used] = state["arrays"][name]
