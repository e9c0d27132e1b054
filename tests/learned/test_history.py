"""The history keeps the last steps and knows ranks and extremes as a pass over all of them would."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt.learned.history import RankWindow, StepHistory

coarse = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=60)  # few values, so that ties occur


@settings(max_examples=40)
@given(numbers=coarse, capacity=st.integers(1, 9))
def test_rank_is_the_mid_rank_in_the_window(numbers: list[float], capacity: int) -> None:
    """The rank is the share of the window below the number plus half the share of its equals."""
    window = RankWindow(capacity)
    for place, number in enumerate(numbers):
        kept = np.array(numbers[max(0, place + 1 - capacity) : place + 1])
        expected = (np.sum(kept < number) + 0.5 * np.sum(kept == number)) / len(kept)
        assert window.push(number) == expected


@settings(max_examples=30)
@given(losses=coarse, capacity=st.integers(1, 9))
def test_history_equals_a_pass_over_all_steps(losses: list[float], capacity: int) -> None:
    """Kept arrays, lowest loss and the steps since it are those of the full list."""
    history = StepHistory(capacity)
    for place, loss in enumerate(losses):
        history.record_step(loss, 2 * loss, 0.5)
        seen = losses[: place + 1]
        assert history.lowest_loss == min(seen)
        assert history.steps_since_lowest == place - seen.index(min(seen))
        assert history.losses.tolist() == seen[-capacity:]
        assert history.grad_norms.tolist() == [2 * one for one in seen[-capacity:]]
        assert history.lr_fracs.tolist() == [0.5] * len(history)
    assert history.num_steps == len(losses)


def test_state_continues_bit_for_bit() -> None:
    """Saved and loaded half-way, history and ranks go on as if they had never stopped."""
    numbers = np.random.default_rng(0).standard_normal(50).tolist()
    whole, first, second = StepHistory(8), StepHistory(8), StepHistory(8)
    ranks, first_ranks, second_ranks = RankWindow(8), RankWindow(8), RankWindow(8)
    for number in numbers[:20]:
        for history in (whole, first):
            history.record_step(number, number, 1.0)
        assert ranks.push(number) == first_ranks.push(number)
    second.load_state_dict(first.state_dict())
    second_ranks.load_state_dict(first_ranks.state_dict())
    for number in numbers[20:]:
        for history in (whole, second):
            history.record_step(number, number, 1.0)
        assert ranks.push(number) == second_ranks.push(number)
    assert whole.state_dict() == second.state_dict()
