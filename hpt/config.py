"""Every setting of the trainer, in one frozen tree: what people change on top, the rest in groups.

Built from Python, or from TOML by `HybridConfig.from_toml`. Unknown keys and values out of range are refused with the
field, the value, the rule and the remedy. Times are in steps (optimizer updates) unless the name says otherwise.
"Lab" as a source means 245 paired runs against a tuned AdamW on a small GPT, an MLP and a CNN; the reference is
hybrid-predict-trainer-rs 0.2.0.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from hpt.errors import ConfigError
from hpt.settings import Settings, setting

PROFILES: dict[str, dict[str, Any]] = {
    # A jump of the same direction, dosed differently: how long to watch first, how sure to be, how far to go.
    "conservative": {
        "warmup_steps": 300,
        "max_predict_steps": 25,
        "correct_steps": 5,
        "confidence_threshold": 0.8,
    },
    "balanced": {
        "warmup_steps": None,
        "max_predict_steps": None,
        "correct_steps": 3,
        "confidence_threshold": 0.5,
    },
    "aggressive": {
        "warmup_steps": 60,
        "max_predict_steps": None,
        "correct_steps": 2,
        "confidence_threshold": 0.3,
    },
}
# Measured on byte-gpt, 650 updates, seeds 100 and 101, orthogonal jumps, change of the validation loss against AdamW:
# K = 10 -0.067 -0.060, K = 15 -0.055 -0.050. A shorter displacement is mostly the momentum of beta1 = 0.9.
MIN_CYCLE_STEPS = 10
# A hundredth of the run was measured up to 6000 updates; beyond 20 000 nothing was, and cycles stay at this length.
MAX_CYCLE_STEPS = 200
# Measured on the same run with K = 15: first jump after 75 steps 1.672, 150 1.622, 225 1.610. The early path bends.
MIN_WARMUP_STEPS = 200
_PROFILED: Any = object()  # stands for "as the profile says" until construction resolves it

PREDICTORS = (
    *("rssm", "mlp", "linear", "ridge", "nesterov"),
    *("ema_nesterov", "lookahead", "linefit", "rre", "dmd", "coast", "hindsight"),
    *("none", "frozen", "random"),
)


@dataclass(frozen=True, kw_only=True)
class PredictConfig(Settings):
    """Where and how far to jump."""

    _path = "predict."

    preset: str = setting(
        "orthogonal",
        "direction and gain schedule of the base predictor",
        choices=("orthogonal", "ramp", "short", "long"),
        source="lab 5 and 8; orthogonal: measured here",
    )
    mode: str = setting(
        "jump", "one weight delta, or H calls of delta/H with a forward each", choices=("jump", "rollout")
    )
    window_start_frac: float | None = setting(
        None, "first progress at which jumps are allowed; None: the preset's", low=0.0, high=1.0
    )
    window_end_frac: float | None = setting(
        None, "last progress at which jumps are allowed; None: the preset's", low=0.0, high=1.0
    )
    min_lr_frac: float = setting(
        0.1, "without total_steps: least lr/lr_max at which jumps are allowed", low=0.0, high=1.0
    )
    max_jump_ratio: float = setting(
        1.5, "trust region: |jump| over |last displacement|", low=0.01, high=10.0, source="lab 5"
    )
    noise_sigmas: float = setting(
        4.0, "standard errors by which the loss must have fallen before the first jump", low=0.0, high=50.0
    )
    advance_schedule: bool = setting(False, "a kept jump advances the LR scheduler by its horizon")
    correction_interval: int = setting(
        5, "rollout mode: calls between micro-corrections, 0 for none", unit="calls", low=0
    )
    pause_after_rejections: int = setting(5, "rejections in a row before pausing", low=1)
    pause_cycles: int = setting(10, "cycles without a jump after that", unit="cycles", low=1)


@dataclass(frozen=True, kw_only=True)
class TrajectoryConfig(Settings):
    """What is remembered of the weights' path: one copy and one moving average a time scale."""

    _path = "trajectory."

    scales: tuple[float, ...] = setting(
        (0.8, 0.95),
        "EMA decays over cycles, one full set of weights each",
        low=0.0,
        high=0.999,
        source="lab 5, 8",
    )
    placement: str = setting(
        "auto",
        "where the copies live; auto: device on CPU, pinned host memory on CUDA",
        choices=("auto", "device", "cpu", "bf16"),
    )


@dataclass(frozen=True, kw_only=True)
class LearnerConfig(Settings):
    """The model of the training run, learned online from this run alone."""

    _path = "learner."

    dims: str = setting("default", "sizes of the RSSM", choices=("default", "reference"))
    enabled: bool = setting(True, "learn at all; off is the control that must not beat a constant")
    updates_per_cycle: int = setting(1, "replay updates at the end of a cycle", low=0, high=100)
    update_interval_steps: int = setting(
        60, "least steps from one cycle's updates to the next; short cycles share them", unit="steps", low=1
    )
    batch_windows: int = setting(16, "windows in one replay update", low=1, high=1024)
    window_steps: int = setting(8, "observed ticks at the head of a window", unit="steps", low=2, high=256)
    replay_steps: int = setting(4096, "ticks kept for replay", unit="steps", low=64)
    learning_rate: float = setting(3e-3, "Adam step size", low=1e-6, high=1.0)
    max_grad_norm: float = setting(1.0, "clip of the learner's own gradients", low=1e-3)
    free_nats: float = setting(1.0, "KL below this many nats costs nothing", unit="nats", low=0.0, source="DreamerV3")
    min_observations: int = setting(30, "ticks before the learned model may speak", unit="steps", low=1)
    forecasts_per_cycle: int = setting(2, "out-of-sample forecasts scored each cycle", low=1, high=50)
    forecast_interval_steps: int = setting(15, "least steps from one scored forecast to the next", unit="steps", low=1)
    gate_memory: float = setting(
        0.97, "decay of the rolling score that decides who acts, per forecast", low=0.5, high=0.9999
    )
    gate_margin_nats: float = setting(0.02, "lead over the constant needed to act", unit="nats", low=0.0)


@dataclass(frozen=True, kw_only=True)
class ProbeConfig(Settings):
    """Forward-only checks around a jump: a guard against blow-ups, not a judge of value."""

    _path = "probe."

    batches: int = setting(1, "batches in the paired probe, this call's included", low=1, high=64)
    budget_frac: float = setting(
        0.005, "share of full-step equivalents for extra forwards and rollbacks", low=0.0, high=1.0
    )
    max_rise_frac: float = setting(
        0.25, "largest rise of the probed loss before any jump was kept, as a share of it", low=0.0, high=10.0
    )
    band_sigmas: float = setting(
        4.0, "half-width of the forecast's upper band that undoes a jump", unit="sigmas", low=0.5, high=50.0
    )


@dataclass(frozen=True, kw_only=True)
class ForkConfig(Settings):
    """Running both ways from one state to learn what a jump is worth."""

    _path = "fork."

    budget_frac: float = setting(
        0.01,
        "share of total_steps that losing branches may cost; too small for one fork means none",
        low=0.0,
        high=0.5,
    )
    steps: int = setting(100, "full steps in each branch", unit="steps", low=2, source="lab 4")
    measured_steps: int = setting(25, "last steps of the branches over which value is measured", unit="steps", low=1)
    at_fracs: tuple[float, ...] = setting(
        (1 / 3, 1 / 6, 2 / 3), "progress of the forks, most wanted first", low=0.0, high=1.0
    )
    max_batch_bytes: int = setting(
        256 * 1024**2, "batches kept for the second branch; more means no fork", unit="bytes", low=0
    )


@dataclass(frozen=True, kw_only=True)
class CorrectConfig(Settings):
    """What is learned from the difference between forecast and outcome."""

    _path = "correct."

    residual_capacity: int = setting(512, "residuals kept", low=8)
    use_residuals: bool = setting(True, "adjust forecasts by the residuals of similar states")
    undo_reversed: bool = setting(False, "after CORRECT, undo the part of the jump that the following steps reversed")


@dataclass(frozen=True, kw_only=True)
class DivergenceConfig(Settings):
    """When a run is in trouble, and what is done about it."""

    _path = "divergence."

    enabled: bool = setting(True, "watch the run at all")
    caution_sigmas: float = setting(4.0, "robust z-score of the loss", unit="sigmas", low=0.5)
    warning_sigmas: float = setting(8.0, "robust z-score of the loss", unit="sigmas", low=0.5)
    critical_sigmas: float = setting(20.0, "robust z-score of the loss", unit="sigmas", low=0.5)
    explosion_ratio: float = setting(20.0, "gradient norm over its running median", low=1.0)
    vanishing_ratio: float = setting(1e-4, "gradient norm over its running median", low=0.0, high=1.0)
    history_steps: int = setting(128, "losses and gradient norms kept", unit="steps", low=16)
    max_skips: int = setting(3, "non-finite updates in a row before the run is given up", low=1)
    max_rollbacks: int = setting(3, "critical rollbacks before the run is given up", low=0)
    retry_lr_factor: float = setting(0.5, "learning rate after a critical rollback, relative", low=0.01, high=1.0)
    retry_steps: int = setting(50, "steps at the lowered learning rate", unit="steps", low=1)


@dataclass(frozen=True, kw_only=True)
class TuningConfig(Settings):
    """Self-adjustment; recommendations are always recorded, actions are off until a gain was measured."""

    _path = "tuning."

    bandit: bool = setting(False, "choose time scale and gain by LinUCB on measured values")
    actions: bool = setting(False, "carry out the recommendations of the health score")
    adaptive_clipping: bool = setting(False, "clip each parameter group relative to its own weight norm")
    clipping_ratio: float = setting(0.1, "adaptive clipping: gradient norm over weight norm", low=1e-4, high=10.0)
    plateau_steps: int = setting(100, "window of the plateau detector", unit="steps", low=10)


@dataclass(frozen=True, kw_only=True)
class MemoryConfig(Settings):
    """What to do as memory runs short."""

    _path = "memory."

    max_retries: int = setting(2, "retries of a step that ran out of memory", low=0)
    record_phases: bool = setting(True, "one memory record at every change of phase")
    cleanup_interval: int = setting(50, "updates between clean-ups of idle memory, 0 for none", unit="steps", low=0)
    cleanup_min_bytes: int = setting(64 * 1024**2, "idle memory worth giving back", unit="bytes", low=1)
    check_interval: int = setting(10, "updates between looks at the thresholds", unit="steps", low=1)
    warn_at: float | None = setting(
        0.9,
        "record a warning above this use: a share of the device's memory up to 1, bytes above; None: never",
        low=0.0,
    )
    degrade_at: float | None = setting(
        None, "above this use move the trajectory, drop directions, shorten the horizon; None: never", low=0.0
    )
    checkpoint_at: float | None = setting(
        0.97, "above this use write a checkpoint, where checkpoint.dir is set; None: never", low=0.0
    )
    offload_optimizer: bool = setting(False, "keep the optimizer's state on the host while a jump is probed")


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig(Settings):
    """Automatic checkpoints."""

    _path = "checkpoint."

    dir: str | None = setting(None, "folder of automatic checkpoints; None: no automatic ones")
    save_interval: int = setting(50, "updates between checkpoints", unit="steps", low=1, source="reference")
    keep: int = setting(3, "checkpoints kept", low=1, source="reference")
    max_time_frac: float = setting(0.05, "share of the wall time above which a warning is recorded", low=0.0, high=1.0)


@dataclass(frozen=True, kw_only=True)
class PrecisionConfig(Settings):
    """Number formats of the forward pass."""

    _path = "precision."

    autocast: str = setting("none", "autocast dtype of forward passes", choices=("none", "bf16", "fp16"))
    warmup: str = setting("same", "the same in WARMUP, if it is to differ", choices=("same", "none", "bf16", "fp16"))
    full: str = setting("same", "the same in FULL", choices=("same", "none", "bf16", "fp16"))
    predict: str = setting("same", "the same for the probes of PREDICT", choices=("same", "none", "bf16", "fp16"))
    correct: str = setting("same", "the same in CORRECT", choices=("same", "none", "bf16", "fp16"))
    grad_scaler: bool | None = setting(None, "scale the loss; None: with fp16 only")
    initial_scale: float = setting(65536.0, "first loss scale", low=1.0, source="torch.amp.GradScaler")


@dataclass(frozen=True, kw_only=True)
class UpdateConfig(Settings):
    """How gradients become an optimizer update."""

    _path = "update."

    accumulation_steps: int = setting(1, "micro-batches in one update; the loss is averaged over them", low=1)
    clip_norm: float | None = setting(None, "global gradient norm limit; None: no clipping", low=1e-12)


@dataclass(frozen=True, kw_only=True)
class HybridConfig(Settings):
    """All settings. Fields that a profile governs keep the profile's value unless given."""

    profile: str = setting("balanced", "named preset of the fields below it governs", choices=tuple(PROFILES))
    predictor: str = setting("rssm", "what proposes jumps; none is the plain loop", choices=PREDICTORS)
    gate: str = setting(
        "earned", "who may jump: what has earned it, or always (controls)", choices=("earned", "always")
    )
    warmup_steps: int | None = setting(
        _PROFILED,
        "least steps before the first jump; None: five cycles, at least MIN_WARMUP_STEPS",
        unit="steps",
        low=0,
    )
    full_steps: int | None = setting(
        None,
        "full steps in a cycle (K); None: total_steps/100 within 10 .. 200, 50 if unknown, at least 1 / (1 - momentum)",
        unit="steps",
        low=2,
        source="lab 5",
    )
    max_predict_steps: int | None = setting(
        _PROFILED,
        "largest horizon of one jump; a longer one has its gain lowered; None: four cycles, above every preset's",
        unit="steps",
        low=1,
    )
    correct_steps: int = setting(_PROFILED, "full steps watched after a kept jump (C)", unit="steps", low=1)
    confidence_threshold: float = setting(_PROFILED, "least confidence for a jump under gate=earned", low=0.0, high=1.0)
    total_steps: int | None = setting(None, "planned optimizer updates; sets windows and K", unit="steps", low=1)
    seed: int = setting(0, "seed of the trainer's own random streams", low=0)
    predict: PredictConfig = setting(PredictConfig(), "group")
    trajectory: TrajectoryConfig = setting(TrajectoryConfig(), "group")
    learner: LearnerConfig = setting(LearnerConfig(), "group")
    probe: ProbeConfig = setting(ProbeConfig(), "group")
    fork: ForkConfig = setting(ForkConfig(), "group")
    correct: CorrectConfig = setting(CorrectConfig(), "group")
    divergence: DivergenceConfig = setting(DivergenceConfig(), "group")
    tuning: TuningConfig = setting(TuningConfig(), "group")
    memory: MemoryConfig = setting(MemoryConfig(), "group")
    checkpoint: CheckpointConfig = setting(CheckpointConfig(), "group")
    precision: PrecisionConfig = setting(PrecisionConfig(), "group")
    update: UpdateConfig = setting(UpdateConfig(), "group")

    def __post_init__(self) -> None:
        """Fill in the profile, then check every field and the rules between fields."""
        preset = PROFILES.get(self.profile, PROFILES["balanced"])
        for name, value in preset.items():
            if getattr(self, name) is _PROFILED:
                object.__setattr__(self, name, value)
        super().__post_init__()
        if self.full_steps is not None and self.correct_steps >= self.full_steps:
            raise ConfigError(
                f"correct_steps is {self.correct_steps}, not below full_steps {self.full_steps}; "
                "CORRECT is the head of a cycle: lower correct_steps or raise full_steps"
            )
        if self.fork.measured_steps > self.fork.steps:
            raise ConfigError(
                f"fork.measured_steps is {self.fork.measured_steps}, above fork.steps {self.fork.steps}; lower it"
            )

    @property
    def cycle_steps(self) -> int:
        """K: full steps in one cycle, a hundredth of the run between MIN_CYCLE_STEPS and MAX_CYCLE_STEPS."""
        if self.full_steps is not None:
            return self.full_steps
        return 50 if self.total_steps is None else min(MAX_CYCLE_STEPS, max(MIN_CYCLE_STEPS, self.total_steps // 100))

    @property
    def max_horizon(self) -> int:
        """Full steps that one jump may stand for: `max_predict_steps`, or four cycles."""
        return 4 * self.cycle_steps if self.max_predict_steps is None else self.max_predict_steps

    @property
    def first_jump_step(self) -> int:
        """Full steps before the first jump: `warmup_steps`, or five cycles and at least MIN_WARMUP_STEPS.

        Five cycles are what the trend averages over, 1 / (1 - 0.8). Measured on `regression`, whose cycles are long: a
        jump after three cost a seed a third of its final loss or more, none did after five.
        """
        return max(5 * self.cycle_steps, MIN_WARMUP_STEPS) if self.warmup_steps is None else self.warmup_steps

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """Read settings from a TOML file.

        Raises:
            ConfigError: the file is missing, is not TOML, or holds an unknown key or a value out of range.
        """
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"config file {path} cannot be read ({error.strerror}); check the path") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"config file {path} is not TOML ({error}); mend that line") from error
        return cls.from_dict(values)

    def to_toml(self) -> str:
        """The whole tree as TOML; settings left to the trainer are left out."""
        top: list[str] = []
        tables: list[str] = []
        for key, value in self.to_dict().items():
            if isinstance(value, Mapping):
                rows = [f"{name} = {_toml(item)}" for name, item in value.items() if item is not None]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
                tables.append(f"\n[{key}]\n" + "\n".join(rows) + "\n")
            elif value is not None:
                top.append(f"{key} = {_toml(value)}\n")
        return "".join(top) + "".join(tables)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"  # pyright: ignore[reportUnknownVariableType]
    return repr(value)
