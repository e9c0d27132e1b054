"""The verdicts: each check has a name, a threshold, evidence and one word. What did not run has failed."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hpt.validate import plan
from hpt.validate.results import Outcome, growth, peak_bytes

PASSED, NOT_PASSED, INCONCLUSIVE, REPORTED = "passed", "failed", "inconclusive", "reported"
MB = 1e6
MAX_PEAK_RATIO = 1.10
MAX_ITEMISED_GAP = 0.05
MAX_ESTIMATE_GAP = 0.10
MAX_GROWTH_MB = {"cpu": 1.0, "cuda": 0.05}
MAX_INTERVAL_MB = 2.0
MAX_PROBE_FRAC = 0.005
SAME_LOSS = 1e-3  # relative; the arms do the same sums in another order
HYBRIDS = (plan.HYBRID, plan.OUT_OF_PLACE, plan.NO_CLEANUP)
Outcomes = Mapping[str, Outcome]


@dataclass(frozen=True, slots=True)
class Check:
    """One verdict: `value` is the number held against `threshold`, None where there was none to read."""

    name: str
    verdict: str
    threshold: str
    value: float | None
    evidence: str

    def to_document(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def check_all(arms: Outcomes, drills: Outcomes, estimates: Outcomes, device_type: str) -> list[Check]:
    """Every check that the asked arms, drills and estimates allow, in the order of the report."""
    checks = [*_ran({**arms, **drills, **estimates})]
    done = {name: arm for name, arm in arms.items() if arm.is_done}
    checks += [_forced_cycle(done[name]) for name in HYBRIDS if name in done]
    checks += _comparisons(done, estimates, device_type)
    checks += [_drill(one) for one in drills.values() if one.is_done]
    return checks


def _comparisons(done: Outcomes, estimates: Outcomes, device_type: str) -> Iterator[Check]:
    plain, hybrid = done.get(plan.PLAIN), done.get(plan.HYBRID)
    if hybrid is not None:
        yield _copies(hybrid)
        yield _growth(hybrid, device_type)
        yield _probe_cost(hybrid)
    if plain is not None and hybrid is not None:
        yield _same_training(plain, hybrid)
        yield _ratio(plain, hybrid, device_type)
        yield _itemised(plain, hybrid) if device_type == "cpu" else _host_copies(hybrid)
    if hybrid is not None and plan.OUT_OF_PLACE in done:
        yield _layer_1(hybrid, done[plan.OUT_OF_PLACE])
    if hybrid is not None and plan.NO_CLEANUP in done:
        yield _layer_2(hybrid, done[plan.NO_CLEANUP])
    here = estimates.get("cuda-here" if device_type == "cuda" else "host")
    if plain is not None and here is not None and here.is_done:
        yield _estimate(plain, here)
    cuda = estimates.get("cuda")
    if cuda is not None and cuda.is_done:
        yield _estimated_ratio(cuda)


def _judge(*, passed: bool) -> str:
    return PASSED if passed else NOT_PASSED


def _ran(outcomes: Outcomes) -> Iterator[Check]:
    failed = [
        f"{one.name}: {one.message or 'no message'} (exit {one.exit_code})"
        for one in outcomes.values()
        if not one.is_done
    ]
    evidence = "; ".join(failed) or f"{len(outcomes)} of {len(outcomes)} ran to their end"
    yield Check(
        "everything ran", _judge(passed=not failed and bool(outcomes)), "no failure", float(len(failed)), evidence
    )


def _forced_cycle(arm: Outcome) -> Check:
    phases = {name: count for name, count in arm.end["phases"].items() if count}
    counters = arm.end["counters"]
    kept = counters["jumps_accepted"] - counters["jumps_rolled_back"]
    rolled = counters["jumps_rolled_back"]
    passed = len(phases) == 4 and kept >= plan.MIN_KEPT_JUMPS and rolled >= 1
    return Check(
        f"forced cycle: {arm.name}",
        _judge(passed=passed),
        f"4 phases, at least {plan.MIN_KEPT_JUMPS} kept jumps and the planned rollback",
        float(kept),
        f"{len(phases)} phases, {kept} jumps kept, {rolled} rolled back",
    )


def _same_training(plain: Outcome, hybrid: Outcome) -> Check:
    """Until the first jump both arms are the same run."""
    before = hybrid.steps[: _first_jump(hybrid)]
    pairs = [(one["loss"], other["loss"]) for one, other in zip(plain.steps, before, strict=False)]
    worst = max((abs(one - other) / abs(one) for one, other in pairs), default=math.nan)
    return Check(
        "same training before the first jump",
        _judge(passed=worst <= SAME_LOSS),
        f"losses within {SAME_LOSS:g}, relative",
        worst if math.isfinite(worst) else None,
        f"{len(pairs)} losses differ by at most {worst:.1e}",
    )


def _first_jump(arm: Outcome) -> int:
    jumps = [index for index, step in enumerate(arm.steps) if step["phase"] == "PREDICT"]
    return jumps[0] if jumps else len(arm.steps)


def _ratio(plain: Outcome, hybrid: Outcome, device_type: str) -> Check:
    below, above = peak_bytes(plain), peak_bytes(hybrid)
    if not below or above is None:
        return Check("peak over plain", NOT_PASSED, "a peak was read in both arms", None, "a peak could not be read")
    ratio = above / below
    evidence = f"{above / MB:.1f} MB over {below / MB:.1f} MB"
    if device_type == "cpu":
        return Check("peak over plain", REPORTED, "none on a CPU: there is nowhere to offload to", ratio, evidence)
    return Check("peak over plain", _judge(passed=ratio <= MAX_PEAK_RATIO), f"<= {MAX_PEAK_RATIO}", ratio, evidence)


def _itemised(plain: Outcome, hybrid: Outcome) -> Check:
    below, above, items = peak_bytes(plain), peak_bytes(hybrid), hybrid.end["items"]
    name, threshold = "peak is plain + trajectory + snapshot", f"within {MAX_ITEMISED_GAP:.0%}"
    if not below or above is None:
        return Check(name, NOT_PASSED, threshold, None, "a peak could not be read")
    expected = below + items["trajectory"] + items["snapshot"]
    gap = above / expected - 1.0
    evidence = (
        f"{above / MB:.1f} MB against {below / MB:.1f} + {items['trajectory'] / MB:.1f} + "
        f"{items['snapshot'] / MB:.1f} = {expected / MB:.1f} MB, {gap:+.1%}"
    )
    return Check(name, _judge(passed=abs(gap) <= MAX_ITEMISED_GAP), threshold, gap, evidence)


def _host_copies(hybrid: Outcome) -> Check:
    items = hybrid.end["items"]
    held = items["trajectory"] + items["snapshot"]
    where = hybrid.end["placement"]["trajectory"]
    return Check(
        "pinned host memory", REPORTED, "none", held / MB, f"trajectory and snapshot on the {where}: {held / MB:.1f} MB"
    )


def _copies(hybrid: Outcome) -> Check:
    count = hybrid.end["num_copies"]
    return Check("copies", _judge(passed=count == 0), "0 parameters moved", float(count), f"{count} storage changes")


def _growth(hybrid: Outcome, device_type: str) -> Check:
    slope, limit = growth(hybrid), MAX_GROWTH_MB[device_type]
    threshold = f"upper 95 % bound <= {limit} MB/step, interval at most {MAX_INTERVAL_MB} MB/step wide"
    if slope is None:
        return Check("growth", INCONCLUSIVE, threshold, None, "too few like steps after warm-up; raise --steps")
    low, high = slope.low / MB, slope.high / MB
    evidence = f"{slope.per_step / MB:+.4f} MB/step [{low:+.4f}, {high:+.4f}] over {slope.num_steps} FULL steps"
    if high - low > MAX_INTERVAL_MB:
        return Check("growth", INCONCLUSIVE, threshold, high, evidence)
    return Check("growth", _judge(passed=high <= limit), threshold, high, evidence)


def _layer_1(hybrid: Outcome, double: Outcome) -> Check:
    """In-place jumps need less than the double's, which the counter must have seen."""
    extra, extra_double = hybrid.end["jump_extra_bytes"], double.end["jump_extra_bytes"]
    seen = double.end["num_copies"]
    saved = None if extra is None or extra_double is None else extra_double - extra
    seconds = [arm.end["seconds"]["part"].get("jump", 0.0) for arm in (hybrid, double)]
    return Check(
        "layer 1 saves",
        _judge(passed=seen > 0 and saved is not None and saved > 0),
        "> 0, and the out-of-place double is counted",
        None if saved is None else saved / MB,
        f"a jump takes {_mb(extra)} in place, {_mb(extra_double)} out of place ({seen} copies counted); "
        f"all jumps {seconds[0]:.3f} s against {seconds[1]:.3f} s",
    )


def _layer_2(hybrid: Outcome, without: Outcome) -> Check:
    peaks = [peak_bytes(arm) for arm in (hybrid, without)]
    saved = None if None in peaks else (peaks[1] or 0) - (peaks[0] or 0)
    return Check(
        "layer 2 saves in the arms",
        REPORTED,
        "none: it acts when memory lies idle, see the drill",
        None if saved is None else saved / MB,
        f"{hybrid.end['num_cleanups']} clean-ups gave back {_mb(hybrid.end['freed_bytes'])}; peak {_mb(peaks[0])} "
        f"with, {_mb(peaks[1])} without",
    )


def _mb(count: int | None) -> str:
    return "not read" if count is None else f"{count / MB:.1f} MB"


def _probe_cost(hybrid: Outcome) -> Check:
    share = hybrid.end["probe_s"] / hybrid.end["trainer_wall_s"]
    return Check(
        "cost of watching memory",
        _judge(passed=share <= MAX_PROBE_FRAC),
        f"<= {MAX_PROBE_FRAC:.1%} of the time",
        share,
        f"{hybrid.end['probe_s'] * 1e3:.2f} ms of {hybrid.end['trainer_wall_s']:.2f} s, one reading "
        f"{hybrid.end['read_s'] * 1e6:.0f} us",
    )


def _estimate(plain: Outcome, estimate: Outcome) -> Check:
    measured, expected = peak_bytes(plain), estimate.end["plain_peak_bytes"]
    name, threshold = "estimate against measurement", f"within {MAX_ESTIMATE_GAP:.0%}"
    if not measured:
        return Check(name, NOT_PASSED, threshold, None, "the peak of the plain arm could not be read")
    gap = expected / measured - 1.0
    evidence = f"plain: {expected / MB:.1f} MB estimated, {measured / MB:.1f} MB measured, {gap:+.1%}"
    return Check(name, _judge(passed=abs(gap) <= MAX_ESTIMATE_GAP), threshold, gap, evidence)


def _estimated_ratio(estimate: Outcome) -> Check:
    ratio = estimate.end["ratio"]
    kept = sum((estimate.end["host_pinned_bytes"] or {}).values())
    return Check(
        "estimated peak over plain on a CUDA device",
        _judge(passed=ratio <= MAX_PEAK_RATIO),
        f"<= {MAX_PEAK_RATIO}",
        ratio,
        f"{estimate.end['hybrid_peak_bytes'] / MB:.1f} MB over {estimate.end['plain_peak_bytes'] / MB:.1f} MB at batch "
        f"{estimate.end['batch_size']}, sequence {estimate.end['seq_len']}; {kept / MB:.1f} MB pinned on the host",
    )


def _drill(one: Outcome) -> Check:
    end = one.end
    return Check(
        f"drill: {one.name}",
        _judge(passed=bool(end["passed"])),
        plan.DRILLS[one.name],
        None if end["saved_bytes"] is None else end["saved_bytes"] / MB,
        end["evidence"],
    )
