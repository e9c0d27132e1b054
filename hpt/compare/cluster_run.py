"""A comparison whose shards are jobs of a cluster: round by round until nothing is missing that could be run.

In a comparison that is tuned, or whose arms run on the best optimizer, some cells have to wait for other shards. They
are run in a further round. A shard whose job died is not submitted again: its cells are told, and left missing.
"""

from collections.abc import Callable
from typing import Any

from hpt.compare.attempts import Show
from hpt.compare.cluster import Cluster
from hpt.compare.request import ComparisonFolder, ComparisonRequest
from hpt.compare.shard_run import ShardRun
from hpt.compare.shards import Shard
from hpt.run.signals import sigterm_interrupts


class ClusterRun:
    """The rounds of one comparison.

    Args:
        request: as planned.
        folder: where the plan lies.
        cluster: where jobs run.
        num_shards: the comparison is divided into.
        show: opens a display; the jobs have their own.
        tell: is given a line that people want to read.

    Attributes:
        failed: why cells have no result, by key.
    """

    def __init__(
        self,
        request: ComparisonRequest,
        folder: ComparisonFolder,
        cluster: Cluster,
        *,
        num_shards: int,
        show: Show,
        tell: Callable[[str], None],
    ) -> None:
        self._cluster, self._tell = cluster, tell
        shards = [Shard(index + 1, num_shards) for index in range(num_shards)]
        self._alive = {shard: ShardRun(request, folder, shard, jobs=1, show=show) for shard in shards}
        self._standing = self._alive[shards[0]].standing  # of the folder, the same for all
        self.failed: dict[str, str] = {}

    def run(self) -> bool:
        """Submit until there is nothing to do; True if it was interrupted, and all jobs were cancelled.

        What nobody will settle any more is told, and is a failure like a cell without a result.
        """
        before: Any = None
        try:
            with sigterm_interrupts():
                while (work := self._work()) and work != before:
                    self._round(list(work))
                    before = work
        except KeyboardInterrupt:
            return True
        for one in self._standing().waits_for():
            self.failed[one.words] = "is not settled, and the cells that need it are left missing"
        return False

    def _work(self) -> dict[Shard, Any]:
        """What shards have to do, those that died left out: places and cells, the same while nothing changes."""
        standing = self._standing()
        found = {shard: one.work(standing) for shard, one in self._alive.items()}
        return {shard: work for shard, work in found.items() if any(work)}

    def _round(self, shards: list[Shard]) -> None:
        for shard, end in self._cluster.run(shards).items():
            self._alive[shard].failed.update(end.failed)
            self.failed |= end.failed
            if end.error is not None:
                self._bury(shard, end.error)

    def _bury(self, shard: Shard, error: str) -> None:
        missing = [cell.key for cell in self._alive.pop(shard).missing(self._standing())]
        self._tell(f"shard {shard}: {error}; {len(missing)} of its cells are left missing")
        self.failed |= dict.fromkeys(missing, f"shard {shard}: {error}")
