"""The kinds of stored measurement that there are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpt.documents import FOREIGN, DocumentError
from hpt_reports.begun import beginning
from hpt_reports.contents import (
    attached,
    comparison,
    estimates,
    large,
    memory,
    policies,
    same_results,
    single,
    stopping,
    value_models,
)
from hpt_reports.kind import TRAINER_PARTS, Document, Kind
from hpt_reports.whole import (
    comparison_lacks,
    memory_lacks,
    memory_with_calls,
    release_lacks,
    timing_companions,
    timing_lacks,
    timing_with_session,
)

LEAST_SHARE = 0.6
"""Of a kind's fields that a file must have to be a damaged one of that kind, and not something else."""
TIMING = Kind(
    name="timing",
    title="benchmarks",
    command="hpt bench all --rigorous --out runs/bench",
    fields=frozenset({"benchmarks", "metadata", "version"}),
    schema=dict[str, Any],
    parts=("bench", "config.py", "jump", "learned", "numerics", "predictors", "trainer"),
    companions=timing_companions,
    completed=timing_with_session,
    lacks=timing_lacks,
)
MEMORY = Kind(
    name="memory",
    title="memory validation",
    command="hpt validate-vram --model gpt2 --out runs/vram",
    fields=frozenset({"arms", "drills", "estimates", "checks"}),
    calls_itself="validate-vram",
    schema=memory.Memory,
    parts=(*TRAINER_PARTS, "validate"),
    completed=memory_with_calls,
    lacks=memory_lacks,
)
ESTIMATES = Kind(
    name="estimates",
    title="estimated and measured memory",
    command="python scripts/measure_estimates.py --result reports/evidence/estimates.json",
    fields=frozenset({"summary", "rows", "allocator", "what"}),
    calls_itself="estimates",
    schema=estimates.Estimates,
    parts=("memory", "numerics", "optimizers"),
)
COMPARISON = Kind(
    name="comparison",
    title="comparison with a baseline",
    command="hpt compare --budget standard --tune --out runs/compare",
    fields=frozenset({"settings", "workloads", "overall"}),
    calls_itself="comparison",
    schema=comparison.Comparison,
    parts=(*TRAINER_PARTS, "compare", "optimizers"),
    is_of_results=True,
    lacks=comparison_lacks,
    made_by=beginning,
)
PROFILE = Kind(
    name="profile",
    title="profile of a step",
    command="hpt profile --workload byte-gpt --out runs/profile",
    fields=frozenset({"workload", "parts", "speed", "reduction"}),
    calls_itself="profile",
    schema=single.Profile,
    parts=(*TRAINER_PARTS, "profile"),
)
TRAINING = Kind(
    name="training",
    title="training run",
    command="hpt train --workload byte-gpt --steps 600 --out runs/first",
    fields=frozenset({"status", "workload", "config", "settings", "seed"}),
    schema=single.Training,
    lacks=lambda one: [] if one["status"] == "done" else [f"status {one['status']}"],
)
OVERHEAD = Kind(
    name="overhead",
    title="overhead of a full step",
    command="hpt profile --overhead --workload byte-gpt --threads 1 --blocks 120 --out runs/overhead",
    fields=frozenset({"what", "ratio", "ratio_low", "ratio_high", "plain_step_s", "blocks"}),
    schema=single.Overhead,
)
ALARMS = Kind(
    name="alarms",
    title="false alarms and a planted slowdown",
    command="python scripts/measure_alarms.py --out runs/alarms --result reports/evidence/alarms.json",
    fields=frozenset({"what", "same_code", "planted", "sampling"}),
    schema=single.Alarms,
    parts=("bench",),
)
SURVIVAL = Kind(
    name="survival",
    title="healthy runs, and planted faults",
    command="python scripts/measure_survival.py --result reports/evidence/survival.json",
    fields=frozenset({"healthy", "planted", "steps"}),
    calls_itself="survival",
    schema=single.Survival,
)
STOPPING = Kind(
    name="stopping",
    title="looking after every seed",
    command="python scripts/measure_stopping.py --result reports/evidence/stopping.json",
    fields=frozenset({"rules", "simulated", "real", "num_series"}),
    calls_itself="stopping",
    schema=stopping.Stopping,
    parts=("compare", "statistics.py"),
)
POLICIES = Kind(
    name="policies",
    title="what policies are worth, and forks",
    command="python scripts/study_forks.py --runs runs/policies --unseen runs/unseen --result "
    "reports/evidence/policies.json",
    fields=frozenset({"what", "policies", "worth", "candidates"}),
    schema=policies.Policies,
    is_of_results=True,
)
VALUE_MODELS = Kind(
    name="value_models",
    title="beliefs about what jumps are worth",
    command="python scripts/fit_values.py --runs runs/policies --result reports/evidence/value_models.json",
    fields=frozenset({"what", "models", "left_out", "num_optimizers"}),
    calls_itself="value-models",
    schema=value_models.ValueModels,
    parts=("control", "learned"),
)
LARGE = Kind(
    name="large",
    title="models for a GPU, with and without jumps",
    command="python scripts/summarize_large.py --runs runs/policies/large --result reports/evidence/large.json",
    fields=frozenset({"what", "autocast", "rows", "trials"}),
    calls_itself="large",
    schema=large.Large,
)
ATTACHED = Kind(
    name="attached",
    title="jumps inside Hugging Face's Trainer",
    command="python scripts/measure_attached.py --seeds 0,1,2,3,4,5,6,7,8 --out reports/evidence/attached_hf.json",
    fields=frozenset({"what", "steps", "losses"}),
    calls_itself="attached",
    schema=attached.Attached,
    parts=(*TRAINER_PARTS, "hooks", "integrations"),
    is_of_results=True,
    workload="byte-gpt",
)
SAME_RESULTS = Kind(
    name="same_results",
    title="results of earlier code and of this",
    command="python scripts/same_results.py COMMIT --result reports/evidence/same_results.json",
    fields=frozenset({"what", "runs", "num_forks", "earlier"}),
    calls_itself="same-results",
    schema=same_results.SameResults,
    parts=(),
)
RELEASE = Kind(
    name="release",
    title="release check",
    command="hpt release-check",
    fields=frozenset({"steps", "vacuous_tests", "passed"}),
    calls_itself="release-check",
    schema=single.Release,
    parts=(),
    lacks=release_lacks,
)
KINDS: Sequence[Kind] = (
    *(TIMING, MEMORY, COMPARISON, PROFILE, TRAINING, OVERHEAD, ALARMS, SURVIVAL, STOPPING, POLICIES, VALUE_MODELS),
    *(ESTIMATES, LARGE, ATTACHED, SAME_RESULTS, RELEASE),
)


def kind_of(document: Document, file: Path) -> Kind:
    """What a document is, or was before it was damaged.

    Raises:
        DocumentError: nothing that hpt measured.
    """
    kind = max(KINDS, key=lambda one: one.likeness(document))
    if kind.likeness(document) < LEAST_SHARE:
        raise DocumentError(file, "it is JSON, but no measurement of hpt", FOREIGN)
    return kind
