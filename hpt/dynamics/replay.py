"""Bounded memory of the run: every tick with the latent it led to, and the few labelled moments.

A window is `observed` ticks to filter, from the latent stored before the first, followed by `horizon` ticks whose losses
are known but whose features are not shown: the model has to imagine them. Latents were made by older weights; the
observed ticks burn them in (Kapturowski et al. 2019, "R2D2"). What is to be forecast is the error that the trend made,
by its curve at the end of the cycle in which the forecast started, so that the model corrects forecasts as they were and
not as hindsight would have them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt.dynamics.forecast import ACTION_SIZE, Vector

SLOW_GAINS = np.array([1 / 32, 1 / 64, 1 / 128, 1 / 256])
"""Gains of the averages that anchor the forecast; the trend's level has 1/16."""
FIRST=20
ANCHOR_CLIP = 3.0
"""Of the trend's scales: right after the first ticks, when the loss falls fastest, slow averages are far off."""


@dataclass(frozen=True, slots=True)
class Windows:
    """B windows of O observed and H imagined ticks, time first.

    Attributes:
        deter, stoch: (B, D) and (B, S) latent before the first tick.
        features: (O, B, 64).
        actions: (O + H, B, 3).
        errors: (H, B) loss minus the trend's forecast, in its scales; 0 where not yet observed.
        anchors: (H, B, 5), see `anchors`.
        masks: (B, E) bootstrap weight of the last observed tick for each head.
        valid: (H, B) 1 where the error is known.
    """

    deter: Vector
    stoch: Vector
    features: Vector
    actions: Vector
    errors: Vector
    anchors: Vector
    masks: Vector
    valid: Vector
    fresh: Vector


def anchors(gaps: NDArray[Any], means: NDArray[Any], scales: NDArray[Any]) -> Vector:
    """What the loss heads read besides the latent, in units of the trend's scales, clipped.

    Args:
        gaps: (..., 4) slower averages of the loss minus its level.
        means: (..., H) change that the trend expects.
        scales: (..., H) its standard deviations.

    Returns:
        (..., H, 5): the four gaps and the expected change, negative, each over the scale.
    """
    wide = np.broadcast_to(gaps[..., None, :], (*means.shape, gaps.shape[-1]))
    stacked = np.concatenate((wide, -means[..., None]), axis=-1) / scales[..., None]
    return np.clip(stacked, -ANCHOR_CLIP, ANCHOR_CLIP).astype(np.float32)


class Replay:
    """Ring of the last `capacity` ticks. Ticks are numbered from 0; the state after tick t is stored at t."""

    def __init__(self, capacity: int, sizes: tuple[int, int, int, int], max_horizon: int) -> None:
        """`sizes` are those of features, deterministic and stochastic state, and the number of heads."""
        self.capacity, self.max_horizon, self.num_ticks = capacity, max_horizon, 0
        num_features, deter, stoch, heads = sizes
        self._arrays = {
            name: np.zeros((capacity, *shape), dtype=np.float32)
            for name, shape in {
                "features": (num_features,),
                "actions": (ACTION_SIZE,),
                "deter": (deter,),
                "stoch": (stoch,),
                "masks": (heads,),
                "gaps": (len(SLOW_GAINS),),
                "means": (max_horizon,),
                "scales": (max_horizon,),
            }.items()
        }
        self._losses, self._levels = np.zeros((2, capacity))
        self._slow, self._slow_weight = np.zeros(len(SLOW_GAINS)), np.ones(len(SLOW_GAINS))
        self._num_closed = 0

    def append(self, features: Vector, action: Vector, loss: float, level: float) -> None:
        """Store a tick, without the latent it leads to: `put_latent` adds that."""
        at = self.num_ticks % self.capacity
        self._slow += SLOW_GAINS * (loss - self._slow)
        self._slow_weight *= 1 - SLOW_GAINS
        self._arrays["features"][at] = features
        self._arrays["actions"][at] = action
        self._arrays["gaps"][at] = self._slow / (1 - self._slow_weight) - level
        self._losses[at], self._levels[at] = loss, level
        self.num_ticks += 1

    def put_latent(self, deter: Vector, stoch: Vector) -> None:
        """Store the latent that the newest tick led to."""
        at = (self.num_ticks - 1) % self.capacity
        self._arrays["deter"][at], self._arrays["stoch"][at] = deter, stoch

    def close_block(self, means: NDArray[Any], scales: NDArray[Any], masks: NDArray[Any]) -> None:
        """Give the ticks since the last call the trend's curve (H,) and one bootstrap weight (E,) per head."""
        at = np.arange(max(self._num_closed, self.num_ticks - self.capacity), self.num_ticks) % self.capacity
        for name, row in (("means", means), ("scales", scales), ("masks", masks)):
            self._arrays[name][at] = row
        self._num_closed = self.num_ticks

    def gaps(self) -> Vector:
        """Slower averages minus level (4,) after the newest tick."""
        return self._arrays["gaps"][(self.num_ticks - 1) % self.capacity]

    def latent(self, tick: int) -> tuple[Vector, Vector] | None:
        """Latent stored after `tick`, None if it is no longer, or not yet, there."""
        if not max(0, self.num_ticks - self.capacity) <= tick < self.num_ticks:
            return None
        at = tick % self.capacity
        return self._arrays["deter"][at].copy(), self._arrays["stoch"][at].copy()

    def mask(self, tick: int) -> Vector:
        """Bootstrap weights (E,) of a stored tick."""
        return self._arrays["masks"][tick % self.capacity].copy()

    def sample(
        self, batch: int, observed: int, horizon: int, generator: np.random.Generator, num_fresh: int = 0, fresh_from: int = 0
    ) -> Windows | None:
        """Draw windows whose far half may reach beyond what is known; None while there is too little for one."""
        first = max(0, self.num_ticks - self.capacity, FIRST - observed) + observed
        last = self.num_ticks - 1 - (horizon + 1) // 2
        if last < first:
            return None
        starts = generator.integers(first, last + 1, size=batch)  # the last observed tick
        if num_fresh:
            starts[:num_fresh] = np.linspace(max(first, fresh_from - horizon), self.num_ticks - 2, num_fresh).astype(int)
        return self._windows(starts, observed, horizon, fresh_from)

    def _windows(self, starts: NDArray[Any], observed: int, horizon: int, fresh_from: int) -> Windows:
        a = self._arrays
        ticks = starts + np.arange(1 - observed, horizon + 1)[:, None]  # (O + H, B)
        at = np.minimum(ticks, self.num_ticks - 1) % self.capacity
        origin, before = starts % self.capacity, (starts - observed) % self.capacity
        valid = (ticks[observed:] < self.num_ticks).astype(np.float32)
        means, scales = a["means"][origin, :horizon], a["scales"][origin, :horizon]
        errors = ((self._losses[at[observed:]] - self._levels[origin]) - means.T) / scales.T
        return Windows(
            deter=a["deter"][before],
            stoch=a["stoch"][before],
            features=a["features"][at[:observed]],
            actions=a["actions"][at],
            errors=(errors * valid).astype(np.float32),
            anchors=anchors(a["gaps"][origin], means, scales).swapaxes(0, 1),
            masks=a["masks"][origin],
            valid=valid,
            fresh=valid * (ticks[observed:] >= fresh_from),
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit."""
        return {
            "num_ticks": self.num_ticks,
            "num_closed": self._num_closed,
            "slow": self._slow.copy(),
            "slow_weight": self._slow_weight.copy(),
            "losses": self._losses.copy(),
            "levels": self._levels.copy(),
            "arrays": {name: array.copy() for name, array in self._arrays.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.num_ticks, self._num_closed = int(state["num_ticks"]), int(state["num_closed"])
        self._slow[:], self._slow_weight[:] = state["slow"], state["slow_weight"]
        self._losses[:], self._levels[:] = state["losses"], state["levels"]
        for name, array in self._arrays.items():
            array[:] = state["arrays"][name]
