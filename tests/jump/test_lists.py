"""Places in a list of optimizers: what was added to one of them moves nothing of another's."""

import copy

import torch
from references.same import assert_same
from torch import nn
from torch.optim import SGD, AdamW

from hpt.jump.others import OthersChanges
from hpt.jump.snapshot import Snapshot
from hpt.optimizers.inner import InnerOptimizer


class Net:
    """Two layers under an optimizer each, with a look at what others change."""

    def __init__(self) -> None:
        self.model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
        self.first = SGD(self.model[0].parameters(), lr=0.1, momentum=0.9)
        self.second = AdamW(self.model[2].parameters(), lr=0.2)
        self.inner = InnerOptimizer([self.first, self.second])
        self.others = OthersChanges(self.model, self.inner)
        self.update()

    def update(self) -> None:
        """One of the trainer's own calls."""
        with self.others:
            self.inner.zero_grad()
            self.model(torch.randn(4, 3)).square().mean().backward()
            self.first.step()
            self.second.step()
            self.second.param_groups[0]["eps"] *= 2.0

    def snapshot(self) -> Snapshot:
        with self.others:
            return Snapshot.take(self.model, self.inner, others=self.others)

    def grow(self) -> None:
        self.first.add_param_group({"params": [nn.Parameter(torch.ones(2))], "lr": 0.7})


def test_what_others_changed_of_the_second_stays_when_the_first_got_a_group_before() -> None:
    """Set by hand after the snapshot and after the group: the rate stays, what an update changed goes back."""
    net = Net()
    snapshot, eps = net.snapshot(), net.second.param_groups[0]["eps"]
    net.grow()
    net.update()
    net.second.param_groups[0]["lr"] = 0.5
    net.update()
    snapshot.restore()
    assert [group["lr"] for group in net.inner.param_groups] == [0.1, 0.7, 0.5]
    assert net.second.param_groups[0]["eps"] == eps


def test_what_others_changed_of_the_second_stays_when_the_first_gets_a_group_after() -> None:
    """The account was made before there was the group."""
    net = Net()
    snapshot = net.snapshot()
    net.second.param_groups[0]["lr"] = 0.5
    net.update()
    net.grow()
    net.update()
    snapshot.restore()
    assert [group["lr"] for group in net.inner.param_groups] == [0.1, 0.7, 0.5]


def test_groups_and_states_go_back_to_their_own_optimizer() -> None:
    """Without anyone else's doing all of both is as it was; the group that came since keeps its settings."""
    net = Net()
    snapshot = net.snapshot()
    before = copy.deepcopy(net.inner.state_dict())
    net.grow()
    net.update()
    snapshot.restore()
    first = net.first.param_groups.pop()
    assert first["lr"] == 0.7
    assert_same(net.inner.state_dict(), before)
