"""What `run.json` says of a run that was never made."""

from hpt.run.record import DONE, RunRecord

TRAINED = RunRecord(
    status=DONE,
    command=["hpt", "train"],
    settings={"steps": 600},
    config={"predictor": "ridge"},
    workload={"name": "byte-gpt", "chance_loss": 3.15},
    seed=7,
    environment={},
    started_at="2026-01-01T00:00:00+00:00",
    num_updates=600,
    phases={"WARMUP": 30, "FULL": 540, "PREDICT": 9, "CORRECT": 30},
    counters={"jumps_accepted": 8, "optimizer_updates": 601},
    seconds={"part": {"forward": 12.5}},
    wall_s=125.4,
    final_loss=2.25,
    confidence={"brier": 0.1875, "reliability": [], "skill": "no skill"},
)
