"""The outer step without any trainer: it moves, looks, keeps or undoes, and returns what happened."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from hpt.jump.delta import WeightDelta
from hpt.jump.outer import OuterStep
from hpt.jump.snapshot import Snapshot
from hpt.jump.stats import CycleStats
from hpt.jump.trajectory import Trajectory
from hpt.optimizers.inner import InnerOptimizer

DELTA = WeightDelta(pull_back=0.5, gain=2.0, scale=0.8)


class Walk:
    """A matrix and a vector that moved for four cycles, and the outer step over them."""

    def __init__(
        self, max_ratio: float = 10.0, max_rise_frac: float = 0.25, dtype: torch.dtype = torch.float32
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        self.model = nn.Linear(6, 9, dtype=dtype)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        parameters = list(self.model.parameters())
        for parameter in parameters:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator, dtype=dtype))
        self.outer = OuterStep(
            Trajectory([parameters], 0.8),
            lambda reuse: Snapshot.take(self.model, InnerOptimizer(self.optimizer), reuse=reuse),
            max_ratio=max_ratio,
            max_rise_frac=max_rise_frac,
        )
        for cycle in range(4):
            for parameter in parameters:
                parameter.data.add_(torch.randn(parameter.shape, generator=generator, dtype=dtype))
            self.stats: CycleStats = self.outer.trajectory.end_cycle(cycle + 1, 1, None, 1.0)
            if cycle < 3:
                self.outer.begin_cycle()
        self.outer.take_snapshot()

    def weights(self) -> torch.Tensor:
        return torch.cat([p.detach().ravel() for p in self.model.parameters()])


def losses(*values: float) -> Callable[[], list[float]]:
    """A measure that says these numbers, call by call."""
    said = iter(values)
    return lambda: [next(said)]


def test_without_a_measure_the_jump_is_kept_unseen() -> None:
    """The weights move by the recorded norm; nothing was probed."""
    walk = Walk()
    before = walk.weights()
    result = walk.outer.jump(DELTA, walk.stats)
    assert (result.kept, result.losses_before, result.losses_after, result.loss_change) == (True, None, None, None)
    assert float((walk.weights() - before).norm()) == pytest.approx(result.norm, rel=1e-5)
    assert result.norm_ratio == pytest.approx(result.norm / walk.stats.displacement_norm)


@pytest.mark.parametrize(
    ("after", "kept", "says"),
    [
        (2.49, True, ""),
        (2.51, False, "loss rose by 0.51, above the bound 0.5"),
        (math.nan, False, "loss is not finite after the jump"),
    ],
)
def test_a_rise_beyond_a_quarter_of_the_loss_is_undone(after: float, kept: bool, says: str) -> None:
    """From a loss of 2: kept below 2.5, undone to the last bit above it and where it is no number."""
    walk = Walk()
    before = walk.weights()
    result = walk.outer.jump(DELTA, walk.stats, losses(2.0, after))
    assert (result.kept, result.reason) == (kept, says)
    assert result.loss == (after if kept else 2.0)
    assert torch.equal(walk.weights(), before) is not kept


def test_unpaired_only_what_is_not_finite_is_undone() -> None:
    """Without a measurement before the jump a rise cannot be told."""
    walk = Walk()
    assert walk.outer.jump(DELTA, walk.stats, losses(1e9), paired=False).kept


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_measure_that_raises_leaves_the_weights(fails_at: int) -> None:
    """Before or after the move: the exception goes on and the weights are those of the snapshot."""
    walk = Walk()
    before, calls = walk.weights(), 0

    def measure() -> list[float]:
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise RuntimeError("no loss today")
        return [1.0]

    with pytest.raises(RuntimeError, match="no loss today"):
        walk.outer.jump(DELTA, walk.stats, measure)
    assert torch.equal(walk.weights(), before)


def test_the_trust_region_shortens_the_delta_and_says_so() -> None:
    """A limit of a tenth of |d|: both factors shrink alike, and the weights move by the limit."""
    walk = Walk(max_ratio=0.1)
    before = walk.weights()
    result = walk.outer.jump(DELTA, walk.stats)
    assert result.norm_ratio == pytest.approx(0.1)
    assert float((walk.weights() - before).norm()) == pytest.approx(0.1 * walk.stats.displacement_norm, rel=1e-4)
    assert result.delta.gain / result.delta.pull_back == pytest.approx(4.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
@pytest.mark.parametrize("max_ratio", [10.0, 0.5])
def test_with_norms_kept_matrices_turn_and_vectors_move_freely(max_ratio: float, dtype: torch.dtype) -> None:
    """The matrix has the Frobenius norm it had, the bias moved as without; also where the jump was shortened."""
    walk, free = Walk(max_ratio, dtype=dtype), Walk(max_ratio, dtype=dtype)
    matrix = walk.model.weight.detach().clone()
    delta = WeightDelta(0.5, 2.0, 0.8, keeps_norm=True)
    result = walk.outer.jump(delta, walk.stats)
    free.outer.jump(DELTA, free.stats)
    assert float(walk.model.weight.detach().norm()) == pytest.approx(float(matrix.norm()), rel=1e-5)
    assert not torch.allclose(walk.model.weight.detach(), matrix)
    assert float(free.model.weight.detach().norm()) != pytest.approx(float(matrix.norm()), rel=1e-3)
    if max_ratio > 1.0:
        torch.testing.assert_close(walk.model.bias, free.model.bias, rtol=1e-5, atol=1e-6)
    assert result.delta.keeps_norm


KINDS = [
    DELTA,
    WeightDelta(0.5, 2.0, 0.8, keeps_norm=True),
    WeightDelta(0.5, 2.0, 0.8, orthogonal=True),
    WeightDelta(0.0, 1.0, 0.8, noise_seed=3),
]


@pytest.mark.parametrize("delta", KINDS)
@pytest.mark.parametrize("max_ratio", [10.0, 0.3])
def test_a_move_is_measured_from_the_weights_it_is_given(delta: WeightDelta, max_ratio: float) -> None:
    """Given copies it is the move from a snapshot, to the bit, and needs none; also where it is shortened."""
    walk, other = Walk(max_ratio), Walk(max_ratio)
    copies = [one.detach().clone() for one in other.model.parameters()]
    other.outer.snapshot = None
    assert other.outer.move(delta, other.stats, copies) == walk.outer.move(delta, walk.stats)
    assert torch.equal(other.weights(), walk.weights())


@pytest.mark.parametrize("delta", KINDS)
def test_a_move_away_from_the_snapshot_keeps_to_the_trust_region(delta: WeightDelta) -> None:
    """A branch is elsewhere than the snapshot: its length, and the norm that is kept, are counted from the branch."""
    walk = Walk(max_ratio=0.3)
    for one, start in zip(walk.model.parameters(), walk.outer.trajectory._start, strict=True):
        start.add_(one.data, alpha=2.0)  # the displacement of the cycle is as it was
        one.data.mul_(3.0)
    copies = [one.detach().clone() for one in walk.model.parameters()]
    before = walk.weights()
    norm = walk.outer.move(delta, walk.stats, copies).norm
    assert norm <= 0.3 * walk.stats.displacement_norm * (1.0 + 1e-6)
    if not delta.keeps_norm:  # to keep the norm moves it once more
        assert float((walk.weights() - before).norm()) == pytest.approx(norm, rel=1e-4)
    else:
        assert float(walk.model.weight.detach().norm()) == pytest.approx(float(copies[0].norm()), rel=1e-6)


def test_a_later_undo_goes_back_to_the_end_of_the_cycle() -> None:
    """Steps after a kept jump are undone with it, and the next displacement counts from there."""
    walk = Walk()
    before = walk.weights()
    walk.outer.jump(DELTA, walk.stats)
    for parameter in walk.model.parameters():
        parameter.data.add_(1.0)
    walk.outer.undo()
    assert torch.equal(walk.weights(), before)
    walk.model.bias.data.add_(0.5)
    stats = walk.outer.trajectory.end_cycle(5, 1, None, 1.0)
    assert stats.displacement_norm == pytest.approx(0.5 * 9**0.5, rel=1e-5)


def test_every_change_of_the_weights_by_a_jump_happens_inside_around_move() -> None:
    """What a measurement enters around the move sees the weights before it and, on leaving, after it."""
    walk = Walk()
    seen: list[torch.Tensor] = []

    @contextmanager
    def watch() -> Iterator[None]:
        seen.append(walk.weights())
        yield
        seen.append(walk.weights())

    before = walk.weights()
    walk.outer.around_move = watch
    walk.outer.jump(DELTA, walk.stats)
    assert torch.equal(seen[0], before)
    assert torch.equal(seen[1], walk.weights())
    assert not torch.equal(seen[0], seen[1])


def test_the_length_of_a_complex_jump_counts_both_parts() -> None:
    """|change| is that of the numbers as pairs, and the trust region bounds it."""
    walk = Walk(max_ratio=0.3, dtype=torch.complex64)
    before = walk.weights()
    result = walk.outer.jump(WeightDelta(0.5, 2.0, 0.8, orthogonal=True), walk.stats)
    moved = float(torch.view_as_real(walk.weights() - before).norm())
    assert result.norm == pytest.approx(moved, rel=1e-5)
    assert result.norm_ratio == pytest.approx(0.3, rel=1e-5)
