"""The 64 features on a real run: each one lives, and no two say the same."""

import numpy as np
import pytest
import torch

from hpt import HybridConfig, HybridTrainer
from hpt.learned.features import FEATURE_NAMES, NUM_FEATURES, FeatureEncoder
from hpt.workloads.byte_gpt import ByteGPT, ByteGPTSize

STEPS = 300
WARMUP = 8  # steps of zeros


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """(steps, 64) features after every full step of a small byte-level GPT on real text, as the models see them."""
    size = ByteGPTSize(dim=32, layers=1, heads=2, context=16, batch_size=16)
    workload = ByteGPT(size, seed=0, data=None, device=torch.device("cpu"))
    model = workload.build_model()
    optimizer = workload.build_optimizer(model)
    config = HybridConfig.from_dict({"total_steps": STEPS, "warmup_steps": 60, "update": {"clip_norm": 1.0}})
    scheduler = workload.build_scheduler(optimizer, STEPS)
    rows: list[np.ndarray] = []
    with pytest.MonkeyPatch.context() as patch:
        observe = FeatureEncoder.observe_steps
        patch.setattr(FeatureEncoder, "observe_steps", lambda self, steps: _kept(rows, observe(self, steps)))
        trainer = HybridTrainer(model, optimizer, workload.loss, config, scheduler)
        while trainer.num_updates < STEPS:
            trainer.step(workload.batch(trainer.num_calls))
    assert trainer.summary()["counters"]["jumps_accepted"] >= 5
    return np.concatenate(rows)[WARMUP:]


def _kept(rows: list[np.ndarray], vectors: np.ndarray) -> np.ndarray:
    rows.append(vectors)
    return vectors


def test_every_feature_takes_at_least_ten_values(features: np.ndarray) -> None:
    """No padding, no constant: ten different finite values each."""
    assert features.shape == (STEPS - WARMUP, NUM_FEATURES)
    assert np.isfinite(features).all()
    dull = [name for name, column in zip(FEATURE_NAMES, features.T, strict=True) if len(np.unique(column)) < 10]
    assert dull == []


def test_no_two_features_rank_the_run_alike(features: np.ndarray) -> None:
    """|Spearman correlation| stays at or below 0.999 for every pair."""
    ranks = np.argsort(np.argsort(features, axis=0, kind="stable"), axis=0, kind="stable").astype(float)
    correlation = np.abs(np.corrcoef(ranks.T))
    upper = np.triu(correlation, k=1)
    twins = [(FEATURE_NAMES[i], FEATURE_NAMES[j]) for i, j in zip(*np.nonzero(upper > 0.999), strict=True)]
    assert twins == []
