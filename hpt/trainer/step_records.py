"""Records of steps, and of stretches of calls in one phase, on their way to the sink.

Where numbers are read once a cycle, a step's record waits until its own are on the host.
"""

from dataclasses import dataclass

from hpt.records import Phase, PhaseRecord, StepRecord, StepResult, discard
from hpt.trainer import memory_layers
from hpt.trainer.components import Components


@dataclass(slots=True)
class _Stretch:
    """Calls in a row in one phase, so far."""

    phase: Phase
    first_call: int
    num_calls: int = 0
    wall_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Made:
    """A call that was made, of which the record waits."""

    result: StepResult
    step: int
    call: int
    lr: float


class StepRecords:
    """Makes the records of a trainer's calls.

    Args:
        components: of the trainer; its sink gets the records.
        phase: of the first call.
    """

    def __init__(self, components: Components, phase: Phase) -> None:
        self._c = components
        self._is_silent = components.sink is discard
        self._waiting: list[_Made] = []
        self._stretch = _Stretch(phase, 1)

    def begin_anew(self, phase: Phase) -> None:
        """Records from here on are of a run that was loaded, whose next call is in that phase."""
        self._waiting = []
        self._stretch = _Stretch(phase, self._c.state.num_calls + 1)

    def add(self, result: StepResult, lr: float) -> None:
        """One call was made at that learning rate."""
        c = self._c
        if result.phase is not self._stretch.phase:
            self.end_stretch(result.phase)
            if not self._is_silent:
                memory_layers.record(c, result.phase)
        self._stretch.num_calls += 1
        self._stretch.wall_s += result.wall_s
        if self._is_silent:
            return
        self._waiting.append(_Made(result, c.controller.step, c.state.num_calls, lr))
        if c.reads_at_once or c.is_baseline or c.history.num_unread == 0:
            self.send()

    def end_stretch(self, phase: Phase) -> None:
        """Calls go on in another phase, or end."""
        stretch = self._stretch
        if stretch.num_calls:
            self._c.sink(PhaseRecord(stretch.phase, stretch.first_call, stretch.num_calls, stretch.wall_s))
        self._stretch = _Stretch(phase, max(1, self._c.state.num_calls))

    def send(self) -> None:
        """Hand the sink the records of steps that wait."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            result = one.result
            self._c.sink(
                StepRecord(
                    step=one.step,
                    call=one.call,
                    phase=result.phase,
                    loss=result.loss,
                    was_predicted=result.was_predicted,
                    predicted_loss=result.predicted_loss,
                    confidence=result.confidence,
                    grad_norm=result.grad_norm,
                    lr=one.lr,
                    num_backward=result.num_backward,
                    wall_s=result.wall_s,
                )
            )
