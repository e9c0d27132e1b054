"""What speaks against the steps of a cycle before they stand: alarms of the monitor, a leap of the weights."""

from hpt.control.divergence import JudgedSteps, Level, StepAlarm
from hpt.history import FloatArray, StepStats
from hpt.learned.loss_trend import TrendPath
from hpt.trainer.engine import Engine
from hpt.trainer.rollback import MIN_HORIZON_FACTOR

MAX_LEAP = 30.0  # |displacement| over |trend|: 1 on a straight path, 3 in pure noise


def alarms_of(c: Engine, steps: StepStats, path: TrendPath) -> list[StepAlarm]:
    """Alarms that count: while a jump is in doubt its own forecast band is the judge; without losses there are none."""
    if not c.has_losses:
        return []
    judged = JudgedSteps(steps.loss, steps.grad_norm, path.next_mean, path.next_scale)
    alarms = c.monitor.judge(c.history.past_losses, c.history.past_grad_norms, judged)
    first = len(steps) - c.correct.num_seen
    last_in_doubt = first + c.config.correct_steps - 1 if c.correct.jump is not None else first
    in_doubt = range(first, last_in_doubt)
    return [alarm for alarm in alarms if alarm.place not in in_doubt] if c.config.divergence.enabled else []


def critical(c: Engine, alarms: list[StepAlarm], products: FloatArray) -> str:
    """What speaks against the weights before they become the snapshot; a high loss in the last steps does, too."""
    if not c.config.divergence.enabled:
        return ""
    if any(alarm.level is Level.CRITICAL for alarm in alarms) or c.monitor.in_doubt:
        return "high losses"
    leap = 0.0 if c.monitor.explains else c.outer.trajectory.leap(products)
    return f"a displacement {leap:.3g} times the trend" if leap > MAX_LEAP else ""


def tell(c: Engine, alarms: list[StepAlarm]) -> None:
    """Record a cycle's warnings, once; a lesser alarm shortens the horizon."""
    for alarm in alarms:
        if alarm.level is Level.CAUTION:
            c.state.horizon_factor = max(MIN_HORIZON_FACTOR, c.state.horizon_factor * 0.5)
    warned = [alarm for alarm in alarms if alarm.level >= Level.WARNING]
    if warned:
        names = dict.fromkeys(signal.name for alarm in warned for signal in alarm.signals)
        c.event("divergence", f"warning: {', '.join(names)}; the cycle is not followed", num_steps=float(len(warned)))
