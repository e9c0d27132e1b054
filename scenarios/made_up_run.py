"""A made-up training run, as plain numbers: what scenarios feed to the parts of the trainer that learn from a run.

The loss falls like a power law under noise, gradient norms shrink slowly, displacements of the weights turn slowly, and
from the third cycle on every cycle ends in a jump.
"""

from collections.abc import Iterator

import numpy as np

from hpt.learned.facts import CycleFacts, FloatArray, JumpOutcome, StepFacts
from hpt.records import Phase

NUM_GROUPS = 2
SCALES = (0.8, 0.95)
CYCLE_STEPS = 50  # the shipped K of a run whose length is not known
_CORRECT_STEPS = 3
_NUM_WEIGHTS = 64  # of each group; only inner products of them are used
_FIRST_JUMP = 3  # cycles

Fact = StepFacts | CycleFacts | JumpOutcome


def made_up_run(num_steps: int, seed: int = 0) -> Iterator[Fact]:
    """Everything that a run of so many full steps reports, in order."""
    draw = np.random.default_rng(seed)
    path = _Path(draw)
    since: int | None = None
    outcome: JumpOutcome | None = None
    for step in range(1, num_steps + 1):
        since = None if since is None else since + 1
        yield _step(step, since, num_steps, draw)
        if outcome is not None and since == _CORRECT_STEPS:
            yield outcome
            outcome = None
        if step % CYCLE_STEPS == 0:
            yield path.end_cycle(step, num_steps)
            if step // CYCLE_STEPS >= _FIRST_JUMP:
                outcome, since = _jump(step, draw), 0


def steps_of(num_steps: int, seed: int = 0) -> list[StepFacts]:
    """Only the full steps."""
    return [fact for fact in made_up_run(num_steps, seed) if isinstance(fact, StepFacts)]


def _step(step: int, since: int | None, num_steps: int, draw: np.random.Generator) -> StepFacts:
    noise = 0.06 * draw.standard_normal()
    bump = 0.0 if since is None else 0.2 * 0.9**since
    norms = 0.8 * step**-0.1 * np.exp(0.15 * draw.standard_normal(NUM_GROUPS) + noise) * np.arange(1, NUM_GROUPS + 1)
    return StepFacts(
        step=step,
        loss=float(1.5 + 4 * (1 + step / 20) ** -0.5 + bump + noise),
        grad_norm=float(np.sqrt(np.square(norms).sum())),
        group_grad_norms=tuple(norms.tolist()),
        lr_frac=max(0.02, 1 - step / num_steps),
        progress=step / num_steps,
        phase=Phase.FULL,
        cycle_frac=((step - 1) % CYCLE_STEPS + 1) / CYCLE_STEPS,
        steps_since_jump=since,
    )


def _jump(step: int, draw: np.random.Generator) -> JumpOutcome:
    gain = float(draw.uniform(1, 2))
    return JumpOutcome(
        step=step,
        arm="0.8x1",
        kept=True,
        rolled_back=False,
        norm_ratio=0.5 * gain,
        gain=gain,
        loss_change=float(0.1 * gain * draw.uniform(0.5, 1.5)),
        good=bool(draw.random() < 0.7),
    )


class _Path:
    """Displacements of two groups of weights, and their averages."""

    def __init__(self, draw: np.random.Generator) -> None:
        self._draw = draw
        self._drift = draw.standard_normal((NUM_GROUPS, _NUM_WEIGHTS))
        self._emas = np.zeros((len(SCALES), NUM_GROUPS, _NUM_WEIGHTS))

    def end_cycle(self, step: int, num_steps: int) -> CycleFacts:
        cycle, mus = step // CYCLE_STEPS, np.array(SCALES)
        self._drift = 0.9 * self._drift + 0.4 * self._draw.standard_normal(self._drift.shape)
        lr_frac = max(0.02, 1 - step / num_steps)
        d = 0.01 * lr_frac * (self._drift + self._draw.standard_normal(self._drift.shape))
        earlier = self._averages(cycle - 1)
        self._emas = mus[:, None, None] * self._emas + (1 - mus)[:, None, None] * d
        basis = np.concatenate((d[None], self._averages(cycle)))
        return CycleFacts(
            cycle=cycle,
            step=step,
            num_steps=CYCLE_STEPS,
            progress=step / num_steps,
            lr_frac=lr_frac,
            scales=SCALES,
            gram=np.einsum("igp,jgp->gij", basis, basis),
            lagged=(earlier * d).sum(axis=2).T,
            lagged_norms=np.square(earlier).sum(axis=2).T,
            weight_norms=np.ones(NUM_GROUPS) * np.sqrt(_NUM_WEIGHTS),
            past_gram=None,
        )

    def _averages(self, cycle: int) -> FloatArray:
        """Bias-corrected; zeros before the first cycle."""
        if cycle == 0:
            return np.zeros_like(self._emas)
        return self._emas / (1 - np.array(SCALES)[:, None, None] ** cycle)
