"""Every setting of the trainer, in one frozen tree: what people change on top, the rest in groups.

Built from Python, or from TOML by `HybridConfig.from_toml`. Unknown keys and values out of range are refused with the
field, the value, the rule and the remedy. Times are in steps (optimizer updates) unless the name says otherwise.
"Lab" as a source means 245 paired runs against a tuned AdamW on a small GPT, an MLP and a CNN; the reference is
hybrid-predict-trainer-rs 0.2.0. What nobody would turn is a constant beside its reason, in the file that uses it.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hpt.errors import ConfigError
from hpt.settings import Settings, setting, unknown

# Measured on byte-gpt, 650 updates, seeds 100 and 101, orthogonal jumps, change of the validation loss against AdamW:
# K = 10 -0.067 -0.060, K = 15 -0.055 -0.050. A shorter displacement is mostly the momentum of beta1 = 0.9.
MIN_CYCLE_STEPS = 10
# A hundredth of the run was measured up to 6000 updates; beyond 20 000 nothing was, and cycles stay at this length.
MAX_CYCLE_STEPS = 200
# Measured on the same run with K = 15: first jump after 75 steps 1.672, 150 1.622, 225 1.610. The early path bends.
MIN_WARMUP_STEPS = 200
# Cycle and horizon when they are told: the loss is forecast step by step, so memory and time grow with them.
MAX_TOLD_STEPS = 10**6

PREDICTORS = (
    *("rssm", "mlp", "linear", "ridge", "prior", "nesterov"),
    *("ema_nesterov", "lookahead"),
    *("none", "frozen", "random"),
)
PHASES = ("warmup", "full", "predict", "correct")  # those of `hpt.records.Phase`
ROLES = ("hidden", "filter", "table", "head", "vector")  # those of `hpt.optimizers.roles`


@dataclass(frozen=True, kw_only=True)
class PredictConfig(Settings):
    """Where and how far to jump."""

    _path = "predict."

    preset: str = setting(
        "orthogonal",
        "direction and gain schedule of the base predictor",
        choices=("orthogonal", "ramp", "short", "long", "no-pull-back", "no-ramp", "not-orthogonal"),
        source="lab 5 and 8; orthogonal: measured here",
    )
    policy: str | None = setting(
        None,
        "share of that gain, and whether matrices keep their norms; None: chosen by value, by nesterov full",
        choices=("quarter", "quarter-kept", "half", "half-kept", "full", "full-kept"),
    )
    window_start_frac: float | None = setting(
        None, "first progress at which jumps are allowed; None: the preset's", low=0.0, high=1.0
    )
    window_end_frac: float | None = setting(
        None,
        "last progress at which jumps are allowed; None: the preset's, or where they ended in runs of the kind at hand",
        low=0.0,
        high=1.0,
    )
    max_jump_ratio: float = setting(
        1.5, "trust region: |jump| over |last displacement|", low=0.01, high=10.0, source="lab 5"
    )


@dataclass(frozen=True, kw_only=True)
class TrajectoryConfig(Settings):
    """Where the memory of the weights' path lives: one copy for the cycle's start and one for the trend."""

    _path = "trajectory."

    device: str = setting(
        "auto",
        "where copies and snapshot live; pinned on the host for parameters on CUDA; auto: host for those, device else",
        choices=("auto", "device", "host"),
    )
    format: str = setting("same", "number format of the copies; bf16 halves them", choices=("same", "bf16"))


@dataclass(frozen=True, kw_only=True)
class LearnerConfig(Settings):
    """The model of the training run, learned online from this run alone."""

    _path = "learner."

    enabled: bool = setting(True, "learn at all; off is the control that must not beat a constant")
    dims: str = setting("default", "sizes of the RSSM", choices=("default", "reference"))


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
class ValueConfig(Settings):
    """How the policy is chosen: by what jumps were worth in other runs, and in forks of this one."""

    _path = "value."

    model: str = setting("prior", "what is believed before this run's own forks", choices=("prior", "ridge", "rssm"))
    fork_budget_frac: float = setting(
        0.05, "share of total_steps that losing branches of forks may cost; 0: no forks", low=0.0, high=0.5
    )


@dataclass(frozen=True, kw_only=True)
class DivergenceConfig(Settings):
    """What is done about a run in trouble; what counts as trouble is in `hpt.control.divergence`."""

    _path = "divergence."

    enabled: bool = setting(True, "watch the run at all")


@dataclass(frozen=True, kw_only=True)
class MemoryConfig(Settings):
    """What to do as memory runs short."""

    _path = "memory."

    max_retries: int = setting(2, "retries of a step that ran out of memory", low=0)
    cleanup_interval: int = setting(50, "updates between clean-ups of idle memory, 0 for none", unit="steps", low=0)
    cleanup_min_bytes: int = setting(64 * 1024**2, "idle memory worth giving back", unit="bytes", low=1)
    check_interval: int = setting(50, "updates between looks at copies and thresholds", unit="steps", low=1)
    warn_at: float | None = setting(
        0.9,
        "record a warning above this use: a share of the device's memory up to 1, bytes above; None: never",
        low=0.0,
    )
    degrade_at: float | None = setting(
        None, "above this use move the trajectory, then shorten the horizon; None: never", low=0.0
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


@dataclass(frozen=True, kw_only=True)
class PrecisionConfig(Settings):
    """Number formats of the forward pass."""

    _path = "precision."

    autocast: str = setting("none", "autocast dtype of forward passes", choices=("none", "bf16", "fp16"))
    phases: dict[str, str] = setting(
        {}, "another one for forward passes of a phase, by its name", choices=("none", "bf16", "fp16")
    )
    grad_scaler: bool | None = setting(None, "scale the loss; None: with fp16 only")
    initial_scale: float = setting(65536.0, "first loss scale", low=1.0, source="torch.amp.GradScaler")

    def __post_init__(self) -> None:
        """Check every field, and that the phases are some."""
        super().__post_init__()
        for name in self.phases:
            if name not in PHASES:
                raise ConfigError(unknown(f"precision.phases.{name}", name, PHASES))


@dataclass(frozen=True, kw_only=True)
class UpdateConfig(Settings):
    """How gradients become an optimizer update, and when its numbers are read."""

    _path = "update."

    accumulation_steps: int = setting(1, "micro-batches in one update; the loss is averaged over them", low=1)
    clip_norm: float | None = setting(None, "global gradient norm limit; None: no clipping", low=1e-12)
    observe: str = setting(
        "auto",
        "when losses and norms are read: at every step, or once a cycle; auto: step on a CPU, cycle elsewhere",
        choices=("auto", "step", "cycle"),
    )


@dataclass(frozen=True, kw_only=True)
class HybridConfig(Settings):
    """All settings."""

    predictor: str = setting("rssm", "what proposes jumps; none is the plain loop", choices=PREDICTORS)
    gate: str = setting(
        "earned", "who may jump: what has earned it, or always (controls)", choices=("earned", "always")
    )
    warmup_steps: int | None = setting(
        None,
        "least steps before the first jump; None: five cycles, at least MIN_WARMUP_STEPS",
        unit="steps",
        low=0,
    )
    full_steps: int | None = setting(
        None,
        "full steps in a cycle (K); None: total_steps/100 within 10 .. 200, 50 if unknown, at least 1 / (1 - momentum)",
        unit="steps",
        low=2,
        high=MAX_TOLD_STEPS,
        source="lab 5",
    )
    max_predict_steps: int | None = setting(
        None,
        "largest horizon of one jump; a longer one has its gain lowered; None: four cycles, above every preset's",
        unit="steps",
        low=1,
        high=MAX_TOLD_STEPS,
    )
    correct_steps: int = setting(3, "full steps watched after a kept jump (C)", unit="steps", low=1)
    total_steps: int | None = setting(
        None, "planned optimizer updates; sets windows and K", unit="steps", low=1, high=10**9
    )
    seed: int = setting(0, "seed of the trainer's own random streams", low=0)
    roles: dict[str, str] = setting(
        {}, "roles of weights, by name or pattern of names, that beat what is found", choices=ROLES
    )
    predict: PredictConfig = setting(PredictConfig(), "group")
    trajectory: TrajectoryConfig = setting(TrajectoryConfig(), "group")
    learner: LearnerConfig = setting(LearnerConfig(), "group")
    probe: ProbeConfig = setting(ProbeConfig(), "group")
    value: ValueConfig = setting(ValueConfig(), "group")
    divergence: DivergenceConfig = setting(DivergenceConfig(), "group")
    memory: MemoryConfig = setting(MemoryConfig(), "group")
    checkpoint: CheckpointConfig = setting(CheckpointConfig(), "group")
    precision: PrecisionConfig = setting(PrecisionConfig(), "group")
    update: UpdateConfig = setting(UpdateConfig(), "group")

    def __post_init__(self) -> None:
        """Check every field and the rules between fields."""
        super().__post_init__()
        if self.full_steps is not None and self.correct_steps >= self.full_steps:
            raise ConfigError(
                f"correct_steps is {self.correct_steps}, not below full_steps {self.full_steps}; "
                "CORRECT is the head of a cycle: lower correct_steps or raise full_steps"
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
