"""What is held against a threshold. What did not run has failed; of several processes the worst one is judged."""

import itertools
import math
from collections.abc import Iterator, Mapping

from hpt.validate import plan
from hpt.validate.results import ValidationResult, growth, peak_bytes
from hpt.validate.verdicts import (
    INCONCLUSIVE,
    LARGE,
    NEAR_ZERO,
    NOT_PASSED,
    PASSED,
    REPORTED,
    SMALL,
    Check,
    worst_of,
)

MB = 1e6
MAX_PEAK_RATIO = 1.10
MAX_ITEMISED_GAP = 0.05
MAX_ESTIMATE_GAP = 0.10
MAX_GROWTH_MB = {"cpu": 1.0, "cuda": 0.05}
MAX_INTERVAL_MB = 2.0
MAX_PROBE_FRAC = 0.005
SAME_LOSS = {"cpu": 1e-3, "cuda": 1e-2}  # relative; sums in another order, on a GPU in another one each time
UNREAD = "a peak could not be read"
HYBRIDS = (plan.HYBRID, plan.OUT_OF_PLACE, plan.NO_CLEANUP)
Results = Mapping[str, ValidationResult]


def check_all(arms: Results, drills: Results, estimates: Results, device_type: str) -> list[Check]:
    """Every check that the asked arms, drills and estimates allow, in the order of the report."""
    checks = [*_ran({**arms, **drills, **estimates})]
    done = {name: arm for name, arm in arms.items() if arm.is_done}
    num_ranks = max((len(arm.by_rank) for arm in done.values()), default=1)
    of_ranks = [{name: arm.by_rank[rank] for name, arm in done.items()} for rank in range(num_ranks)]
    checks += worst_of([[*_of_arms(arms, estimates, device_type)] for arms in of_ranks])
    cuda = estimates.get("cuda")
    if cuda is not None and cuda.is_done:
        checks.append(_estimated_ratio(cuda))
    checks += [_drill(one) for one in drills.values() if one.is_done]
    return checks


def _of_arms(done: Results, estimates: Results, device_type: str) -> Iterator[Check]:
    """Of one process of each arm."""
    yield from (_forced_cycle(done[name]) for name in HYBRIDS if name in done)
    plain, hybrid = done.get(plan.PLAIN), done.get(plan.HYBRID)
    if hybrid is not None:
        yield _copies(hybrid)
        yield _growth(hybrid, device_type)
        yield _probe_cost(hybrid)
    if plain is not None and hybrid is not None:
        yield _same_training(plain, hybrid, SAME_LOSS[device_type])
        yield _ratio(plain, hybrid, device_type)
        yield _itemised(plain, hybrid) if device_type == "cpu" else _host_copies(hybrid)
    if hybrid is not None and plan.OUT_OF_PLACE in done:
        yield _layer_1(hybrid, done[plan.OUT_OF_PLACE])
    if hybrid is not None and plan.NO_CLEANUP in done:
        yield _layer_2(hybrid, done[plan.NO_CLEANUP])
    here = estimates.get("cuda-here" if device_type == "cuda" else "host")
    if plain is not None and here is not None and here.is_done:
        yield _estimate(plain, here)


def _judged(name: str, threshold: str, value: float | None, evidence: str, *, passed: bool, good: str = SMALL) -> Check:
    return Check(name, PASSED if passed else NOT_PASSED, threshold, value, evidence, good)


def _ran(outcomes: Results) -> Iterator[Check]:
    failed = [
        f"{one.name}: {one.message or 'no message'} (exit {one.exit_code})"
        for one in outcomes.values()
        if not one.is_done
    ]
    evidence = "; ".join(failed) or f"{len(outcomes)} of {len(outcomes)} ran to their end"
    passed = not failed and bool(outcomes)
    yield _judged("everything ran", "no failure", float(len(failed)), evidence, passed=passed)


def _forced_cycle(arm: ValidationResult) -> Check:
    num_phases = sum(count > 0 for count in arm.end["phases"].values())
    rolled = arm.end["counters"]["jumps_rolled_back"]
    kept = arm.end["counters"]["jumps_accepted"] - rolled
    # Weights that are replaced end the path that jumps follow, so that one jump is all that such an arm has time for.
    is_replaced = arm.name == plan.OUT_OF_PLACE
    least_kept, least_rolled = (1, 0) if is_replaced else (plan.MIN_KEPT_JUMPS, 1)
    wanted = "a kept jump" if is_replaced else f"at least {least_kept} kept jumps and the planned rollback"
    return _judged(
        f"forced cycle: {arm.name}",
        f"4 phases, {wanted}",
        float(kept),
        f"{num_phases} phases, {kept} jumps kept, {rolled} rolled back",
        passed=num_phases == 4 and kept >= least_kept and rolled >= least_rolled,
        good=LARGE,
    )


def _same_training(plain: ValidationResult, hybrid: ValidationResult, limit: float) -> Check:
    """Until the first jump both arms are the same run."""
    before = list(itertools.takewhile(lambda step: step["phase"] != "PREDICT", hybrid.steps))
    pairs = [(one["loss"], other["loss"]) for one, other in zip(plain.steps, before, strict=False)]
    worst = max((abs(one - other) / abs(one) for one, other in pairs), default=math.nan)
    return _judged(
        "same training before the first jump",
        f"losses within {limit:g}, relative",
        worst if math.isfinite(worst) else None,
        f"{len(pairs)} losses differ by at most {worst:.1e}",
        passed=worst <= limit,
    )


def _ratio(plain: ValidationResult, hybrid: ValidationResult, device_type: str) -> Check:
    name, below, above = "peak over plain", peak_bytes(plain), peak_bytes(hybrid)
    if not below or above is None:
        return Check(name, NOT_PASSED, "a peak was read in both arms", None, UNREAD)
    ratio, evidence = above / below, f"{_mb(above)} over {_mb(below)}"
    if device_type == "cpu":
        return Check(name, REPORTED, "none on a CPU: there is nowhere to offload to", ratio, evidence)
    return _judged(name, f"<= {MAX_PEAK_RATIO}", ratio, evidence, passed=ratio <= MAX_PEAK_RATIO)


def _itemised(plain: ValidationResult, hybrid: ValidationResult) -> Check:
    below, above, items = peak_bytes(plain), peak_bytes(hybrid), hybrid.end["items"]
    name, threshold = "peak is plain + trajectory + snapshot", f"within {MAX_ITEMISED_GAP:.0%}"
    if not below or above is None:
        return Check(name, NOT_PASSED, threshold, None, UNREAD)
    parts = (below, items["trajectory"], items["snapshot"])
    gap = above / sum(parts) - 1.0
    itemised = " + ".join(f"{part / MB:.1f}" for part in parts)
    evidence = f"{_mb(above)} against {itemised} = {_mb(sum(parts))}, {gap:+.1%}"
    return _judged(name, threshold, gap, evidence, passed=abs(gap) <= MAX_ITEMISED_GAP, good=NEAR_ZERO)


def _host_copies(hybrid: ValidationResult) -> Check:
    held = hybrid.end["items"]["trajectory"] + hybrid.end["items"]["snapshot"]
    evidence = f"trajectory and snapshot on the {hybrid.end['placement']['trajectory']}: {_mb(held)}"
    return Check("pinned host memory", REPORTED, "none", held / MB, evidence)


def _copies(hybrid: ValidationResult) -> Check:
    count = hybrid.end["num_copies"]
    return _judged("copies", "0 parameters moved", float(count), f"{count} storage changes", passed=count == 0)


def _growth(hybrid: ValidationResult, device_type: str) -> Check:
    slope, limit = growth(hybrid), MAX_GROWTH_MB[device_type]
    threshold = f"upper 95 % bound <= {limit} MB/step, interval at most {MAX_INTERVAL_MB} MB/step wide"
    if slope is None:
        return Check("growth", INCONCLUSIVE, threshold, None, "too few like steps after warm-up; raise --steps")
    low, high = slope.low / MB, slope.high / MB
    evidence = f"{slope.per_step / MB:+.4f} MB/step [{low:+.4f}, {high:+.4f}] over {slope.num_steps} FULL steps"
    if high - low > MAX_INTERVAL_MB or low <= limit < high:
        return Check("growth", INCONCLUSIVE, threshold, high, f"{evidence}; raise --steps")
    return _judged("growth", threshold, high, evidence, passed=high <= limit)


def _layer_1(hybrid: ValidationResult, double: ValidationResult) -> Check:
    """In-place jumps need less than the double's, which the counter must have seen."""
    extra, extra_double = hybrid.end["jump_extra_bytes"], double.end["jump_extra_bytes"]
    seen = double.end["num_copies"]
    saved = None if extra is None or extra_double is None else extra_double - extra
    seconds = [arm.end["seconds"]["part"].get("jump", 0.0) for arm in (hybrid, double)]
    return _judged(
        "layer 1 saves",
        "> 0, and the out-of-place double is counted",
        None if saved is None else saved / MB,
        f"a jump takes {_mb(extra)} in place, {_mb(extra_double)} out of place ({seen} copies counted); "
        f"all jumps {seconds[0]:.3f} s against {seconds[1]:.3f} s",
        passed=seen > 0 and saved is not None and saved > 0,
        good=LARGE,
    )


def _layer_2(hybrid: ValidationResult, without: ValidationResult) -> Check:
    below, above = peak_bytes(hybrid), peak_bytes(without)
    return Check(
        "layer 2 saves in the arms",
        REPORTED,
        "none: it acts when memory lies idle, see the drill",
        None if below is None or above is None else (above - below) / MB,
        f"{hybrid.end['num_cleanups']} clean-ups gave back {_mb(hybrid.end['freed_bytes'])}; peak {_mb(below)} "
        f"with, {_mb(above)} without",
        LARGE,
    )


def _mb(count: int | None) -> str:
    return "not read" if count is None else f"{count / MB:.1f} MB"


def _probe_cost(hybrid: ValidationResult) -> Check:
    share = hybrid.end["probe_s"] / hybrid.end["trainer_wall_s"]
    return _judged(
        "cost of watching memory",
        f"<= {MAX_PROBE_FRAC:.1%} of the time",
        share,
        f"{hybrid.end['probe_s'] * 1e3:.2f} ms of {hybrid.end['trainer_wall_s']:.2f} s, one reading "
        f"{hybrid.end['read_s'] * 1e6:.0f} us",
        passed=share <= MAX_PROBE_FRAC,
    )


def _estimate(plain: ValidationResult, estimate: ValidationResult) -> Check:
    measured, expected = peak_bytes(plain), estimate.end["plain_peak_bytes"]
    name, threshold = "estimate against measurement", f"within {MAX_ESTIMATE_GAP:.0%}"
    if not measured:
        return Check(name, NOT_PASSED, threshold, None, "the peak of the plain arm could not be read")
    gap = expected / measured - 1.0
    evidence = f"plain: {_mb(expected)} estimated, {_mb(measured)} measured, {gap:+.1%}"
    return _judged(name, threshold, gap, evidence, passed=abs(gap) <= MAX_ESTIMATE_GAP, good=NEAR_ZERO)


def _estimated_ratio(estimate: ValidationResult) -> Check:
    end = estimate.end
    kept = sum((end["host_pinned_bytes"] or {}).values())
    return _judged(
        "estimated peak over plain on a CUDA device",
        f"<= {MAX_PEAK_RATIO}",
        end["ratio"],
        f"{_mb(end['hybrid_peak_bytes'])} over {_mb(end['plain_peak_bytes'])} at batch {end['batch_size']}, "
        f"sequence {end['seq_len']}; {_mb(kept)} pinned on the host",
        passed=end["ratio"] <= MAX_PEAK_RATIO,
    )


def _drill(one: ValidationResult) -> Check:
    saved = one.end["saved_bytes"]
    return _judged(
        f"drill: {one.name}",
        plan.DRILLS[one.name],
        None if saved is None else saved / MB,
        one.end["evidence"],
        passed=bool(one.end["passed"]),
    )
