"""A prior under which a short run surely forks: wide beliefs about jumps, and forks that measure them well."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hpt.jump.policy import NUM_POLICIES, POLICIES
from hpt.learned import prior

WIDE = [[1.0 if row == column else 0.2 for column in range(NUM_POLICIES)] for row in range(NUM_POLICIES)]
DOCUMENT: dict[str, Any] = {
    "schema_version": 1,
    "policies": list(POLICIES),
    "entries": {
        "any": {"mean": [0.0] * (NUM_POLICIES - 1) + [0.02], "covariance": WIDE, "runs": ["one", "another"]},
    },
    "forks": {
        "num_jumps": 2,
        "settle_steps": 10,
        "offset": [0.0] * NUM_POLICIES,
        "scale": [1.0] * NUM_POLICIES,
        "variance": [0.001] * NUM_POLICIES,
    },
}
SETTINGS = "[value]\nfork_budget_frac = 0.5\n"
"""TOML of a run whose forks may cost as much as they like."""


@contextmanager
def forking_prior(folder: Path, means: Sequence[float] | None = None, spread: float = 1.0) -> Iterator[None]:
    """Runs begin with this prior, or one of other means and spread, which lies in the folder, not the shipped one."""
    file = folder / "prior.json"
    entry: dict[str, Any] = DOCUMENT["entries"]["any"]
    covariance = [[spread * one for one in row] for row in WIDE]
    changed = {**entry, "mean": entry["mean"] if means is None else list(means), "covariance": covariance}
    file.write_text(json.dumps({**DOCUMENT, "entries": {"any": changed}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prior, "PATH", file)
        prior._document.cache_clear()
        yield
    prior._document.cache_clear()
