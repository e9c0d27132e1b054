"""When a comparison has enough seeds: each statement at the point where it begins to hold, and no sooner."""

import math

import numpy as np
import pytest

from hpt.compare.alpha_spending import FIRST_LOOK, Looks
from hpt.compare.ratios import Ratio
from hpt.compare.stopping import Answer, Settled, answers, is_enough, look
from hpt.errors import UsageError
from hpt.statistics import estimate, student_quantile

LOOKS = Looks()


def ratio(logs: list[float], side: str = "") -> Ratio:
    return Ratio(estimate(logs), tuple(math.exp(one) for one in logs), side)


def apart(distance: float, alpha: float) -> Ratio:
    """Five seeds whose interval at that level ends `distance` above zero."""
    spread = [-0.02, -0.01, 0.0, 0.01, 0.02]
    found = look(spread, Looks(alpha=alpha))
    assert found is not None
    return ratio([one + found.half_width + distance for one in spread])


def settled(ratios: dict[str, Ratio], resolution: float = 0.01) -> dict[str, Settled | None]:
    return {one.name: one.settled for one in answers(ratios, resolution)}


def test_interval_of_three_seeds_by_hand() -> None:
    """Mean .02, standard deviation .01."""
    found = look([0.01, 0.02, 0.03], LOOKS)
    assert found is not None
    half = LOOKS.factor(3) * 0.01 / math.sqrt(3)
    assert (found.low, found.high) == pytest.approx((0.02 - half, 0.02 + half))


def test_two_seeds_or_a_diverged_run_have_no_interval() -> None:
    """Nothing can be said of their mean."""
    assert look([0.1, 0.2], LOOKS) is None
    assert look([0.1, 0.2, -math.inf], LOOKS) is None


def test_a_ratio_is_precise_from_the_width_on_that_was_asked() -> None:
    """The half-width as a ratio is the smallest resolution that is settled."""
    logs = [-0.01, 0.0, 0.01, 0.003]
    found = look(logs, LOOKS)
    assert found is not None
    width = math.expm1(found.half_width)
    assert settled({"a": ratio(logs)}, width * 1.0001) == {"a": Settled.PRECISE}
    assert settled({"a": ratio(logs)}, width * 0.9999) == {"a": None}


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_ratio_is_different_once_its_interval_leaves_the_resolution(sign: float) -> None:
    """Above 1 + resolution, or below its reciprocal."""
    for distance, expected in ((1e-6, Settled.DIFFERENT), (-1e-6, None)):
        logs = [sign * math.log(one) for one in apart(math.log1p(0.01) + distance, LOOKS.alpha).by_seed]
        assert settled({"a": ratio(logs)}) == {"a": expected}


def test_of_several_questions_the_first_difference_needs_the_level_of_all() -> None:
    """Holm's steps: enough alone is not enough beside an open question, and is again once that one is found."""
    wanted = math.log1p(0.01)
    alone, clear = apart(wanted + 1e-6, LOOKS.alpha), apart(wanted + 1e-6, LOOKS.alpha / 2)
    wide = ratio([-0.2, 0.2, -0.1, 0.1, 0.0])
    assert settled({"a": alone}) == {"a": Settled.DIFFERENT}
    assert settled({"a": alone, "b": wide}) == {"a": None, "b": None}
    assert settled({"a": alone, "b": alone}) == {"a": None, "b": None}
    assert settled({"a": alone, "b": clear}) == {"a": Settled.DIFFERENT, "b": Settled.DIFFERENT}


def test_a_bound_is_settled_and_tells_in_its_own_direction() -> None:
    """Values cut off above are at least so high; equal ones are not precise."""
    high = [0.3, 0.31, 0.29, 0.3]
    assert settled({"a": ratio(high, "above")}) == {"a": Settled.DIFFERENT}
    assert settled({"a": ratio(high, "below")}) == {"a": Settled.BOUND}
    assert settled({"a": ratio([0.0, 0.0, 0.0], "above")}) == {"a": Settled.BOUND}


def test_a_diverged_run_is_settled_whatever_the_others_did() -> None:
    """Its ratio is 0, before the first look as well."""
    values = [0.1, -math.inf]
    diverged = Ratio(estimate(values), (math.exp(0.1), 0.0), "")
    assert settled({"a": diverged}) == {"a": Settled.DIVERGED}


def test_one_open_question_keeps_all_going() -> None:
    """Enough is when all are settled."""
    equal = ratio([0.0, 0.0, 0.0])
    assert is_enough(answers({"a": equal}, 0.03))
    assert not is_enough(answers({"a": equal, "b": ratio([-0.1, 0.1, 0.0])}, 0.03))


def test_looking_after_every_seed_keeps_the_false_alarms_that_were_allowed() -> None:
    """Of 500 series without a difference at most 5 % and four standard errors; the plain t interval makes 23 %."""
    series = np.random.default_rng(1).standard_normal((500, 20))
    false = {"planned": 0, "plain": 0}
    plain = [student_quantile(0.975, num - 1) for num in range(FIRST_LOOK, 21)]
    for row in series.tolist():
        found = [look(row[:num], LOOKS) for num in range(FIRST_LOOK, 21)]
        false["planned"] += any(one is not None and one.excludes(0.0) for one in found)
        errors = [one.half_width / LOOKS.factor(num) for num, one in enumerate(found, FIRST_LOOK) if one is not None]
        values = zip(found, plain, errors, strict=True)
        false["plain"] += any(one is not None and abs(one.value) > t * error for one, t, error in values)
    assert false["planned"] / 500 <= 0.05 + 4.0 * math.sqrt(0.05 * 0.95 / 500)
    assert false["plain"] / 500 >= 0.15


def test_answers_speak_plainly() -> None:
    """The ratio, its interval, how well it is known, what was wanted, and whether it goes on."""
    (one,) = answers({"hybrid on byte-gpt": ratio([0.26, 0.27, 0.25, 0.26, 0.26])}, 0.03)
    assert one.sentence == (
        "hybrid on byte-gpt, 5 seeds: 1.297x [1.274, 1.321], known to 1.82 %, wanted 3 %: "
        "settled (known to the resolution)"
    )
    early = Answer(name="a", num_seeds=1, resolution=0.03, interval=None, settled=None)
    assert early.sentence == "a, 1 seed: goes on, the first look is at 3"


def test_a_resolution_of_nothing_is_refused() -> None:
    """No number of seeds gives it."""
    with pytest.raises(UsageError, match="--resolve is 0 %, it must be above 0"):
        answers({}, 0.0)
