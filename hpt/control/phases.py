"""Which phase the next call is in: a table of transitions and a counter of full steps.

A cycle is K full steps. Inside it the phase is WARMUP, FULL, or, for the first C steps after a kept jump, CORRECT; at
its end the trainer either starts the next cycle or enters PREDICT, whose outcome starts it. WARMUP lasts
`warmup_steps`, rounded up to whole cycles and never less than one, because nothing can be proposed before the first
displacement is known. The table is data, so that a test can walk it.
"""

from collections.abc import Mapping
from typing import Any

from hpt.errors import ConfigError
from hpt.records import Phase

TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    Phase.WARMUP: frozenset({Phase.FULL}),
    Phase.FULL: frozenset({Phase.PREDICT}),
    Phase.PREDICT: frozenset({Phase.CORRECT, Phase.FULL}),
    Phase.CORRECT: frozenset({Phase.FULL}),
}
"""Legal changes of phase; staying in a phase is no change."""


class PhaseController:
    """Counts full steps and holds the phase of the next call.

    Order of calls: `full_step_done` after every net optimizer update; when `cycle_done`, either
    `start_cycle` or `begin_predict`; after the PREDICT call `jump_kept` or `jump_rejected`, both of
    which start the next cycle. `forced_full` is legal at any time.
    """

    def __init__(self, warmup_steps: int, cycle_steps: int, correct_steps: int) -> None:
        if correct_steps >= cycle_steps:
            raise ConfigError(
                f"correct_steps is {correct_steps}, not below the cycle of {cycle_steps} full steps; "
                "CORRECT is the head of a cycle: lower correct_steps or raise full_steps"
            )
        self._warmup_steps = warmup_steps
        self._cycle_steps = cycle_steps
        self._correct_steps = correct_steps
        self._phase = Phase.WARMUP
        self._step = 0
        self._position = 0
        self._correct_left = 0

    @property
    def phase(self) -> Phase:
        """Phase of the next call; WARMUP, FULL and CORRECT are full steps, PREDICT is a jump."""
        return self._phase

    @property
    def step(self) -> int:
        """Net optimizer updates so far."""
        return self._step

    @property
    def cycle_position(self) -> int:
        """Full steps since the cycle started, 0 .. K."""
        return self._position

    @property
    def cycle_frac(self) -> float:
        """Position inside the cycle, 0 right after its start, 1 at its end."""
        return self._position / self._cycle_steps

    @property
    def cycle_done(self) -> bool:
        """The cycle has its K full steps and waits to be closed."""
        return self._position == self._cycle_steps

    @property
    def can_predict(self) -> bool:
        """PREDICT is legal now: a finished cycle in FULL, with `warmup_steps` behind it.

        The last condition matters only after a `forced_full` during WARMUP.
        """
        return self._phase is Phase.FULL and self.cycle_done and self._step >= self._warmup_steps

    def full_step_done(self) -> None:
        """Count one net optimizer update."""
        assert self._phase is not Phase.PREDICT, "PREDICT makes no optimizer update"
        assert not self.cycle_done, "the finished cycle must be closed before the next full step"
        self._step += 1
        self._position += 1
        if self._phase is Phase.CORRECT:
            self._correct_left -= 1
            if self._correct_left == 0:
                self._enter(Phase.FULL)

    def start_cycle(self) -> None:
        """Close the cycle and begin the next; WARMUP ends here once it has lasted `warmup_steps`."""
        assert self._phase is not Phase.PREDICT, "only the outcome of PREDICT starts the next cycle"
        if self._phase is Phase.WARMUP and self._step >= self._warmup_steps:
            self._enter(Phase.FULL)
        self._position = 0

    def begin_predict(self) -> None:
        """Make the next call a jump; AssertionError outside FULL or inside a cycle."""
        assert self._phase is Phase.FULL, f"PREDICT follows FULL only, not {self._phase}"
        assert self.cycle_done, f"PREDICT follows a finished cycle, not step {self._position} of one"
        self._enter(Phase.PREDICT)

    def jump_kept(self) -> None:
        """The jump stands: a new cycle, whose first C steps are CORRECT."""
        self._leave_predict(Phase.CORRECT if self._correct_steps else Phase.FULL)
        self._correct_left = self._correct_steps

    def jump_rejected(self) -> None:
        """The jump was not made: a new cycle in FULL."""
        self._leave_predict(Phase.FULL)

    def forced_full(self) -> None:
        """A rollback or divergence, from any phase: a new cycle in FULL."""
        if self._phase is not Phase.FULL:
            self._enter(Phase.FULL)
        self._correct_left = 0
        self._position = 0

    def rolled_back(self, num_steps: int) -> None:
        """Take back `num_steps` net updates from the step count; the phase is `forced_full`'s business."""
        assert 0 <= num_steps <= self._step, f"{num_steps} of {self._step} steps cannot be taken back"
        self._step -= num_steps

    def state_dict(self) -> dict[str, Any]:
        """Counters and phase as plain values."""
        return {
            "phase": str(self._phase),
            "step": self._step,
            "position": self._position,
            "correct_left": self._correct_left,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._phase = Phase(state["phase"])
        self._step = int(state["step"])
        self._position = int(state["position"])
        self._correct_left = int(state["correct_left"])

    def _leave_predict(self, phase: Phase) -> None:
        assert self._phase is Phase.PREDICT, f"a jump ends PREDICT, not {self._phase}"
        self._enter(phase)
        self._position = 0

    def _enter(self, phase: Phase) -> None:
        assert phase in TRANSITIONS[self._phase], f"{self._phase} -> {phase} is no legal change of phase"
        self._phase = phase
