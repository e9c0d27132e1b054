"""How much is measured: processes, values, warm-ups and the time of a value, for each of the three modes.

Budgets on two cores, sixteen scenarios one after the other: `fast` two minutes, `default` five. `rigorous` is what the
original states of itself: at least 100 values, and three seconds of warm-up, here in each of six processes; it takes a
quarter of an hour. pyperf's own --fast and --rigorous overwrite the number of processes, so every number is passed
explicitly.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from hpt.bench.scenario import Preset


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """Settings of pyperf.

    Attributes:
        processes: worker processes that yield values; one more calibrates the loops.
        values: of each process.
        warmups: values of each process that are recorded apart.
        min_time_s: least time of a value; the loops are doubled until it is reached.
    """

    processes: int
    values: int
    warmups: int
    min_time_s: float


MODES: Mapping[str, Mode] = {
    "fast": Mode(processes=3, values=3, warmups=1, min_time_s=0.02),
    "default": Mode(processes=6, values=5, warmups=1, min_time_s=0.05),
    "rigorous": Mode(processes=6, values=17, warmups=62, min_time_s=0.05),  # 62 x 0.05 s: three seconds and a tenth
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a benchmark run was asked for; runs of other settings are not put into the same folder.

    Attributes:
        mode: key of `MODES`.
        preset: sizes of the model.
        threads: of torch and the linear algebra libraries.
        affinity: processors the workers may run on, as in "0,2-3"; None leaves it to the system.
    """

    mode: str = "default"
    preset: Preset = Preset.DEFAULT
    threads: int = 1
    affinity: str | None = None

    def to_document(self) -> dict[str, str | int | None]:
        """Plain values for JSON."""
        return {
            "mode": self.mode,
            "preset": self.preset.value,
            "threads": self.threads,
            "affinity": self.affinity,
        }
