"""What changed between two records."""

from __future__ import annotations

from dataclasses import dataclass

from nnlab.bench.measure import Row
from nnlab.bench.record import Record

LEAST = 0.05  # a change smaller than this is not reported, however sure it is
SURE = 4.0  # standard errors


@dataclass(frozen=True)
class Change:
    """A row of both records.

    Attributes:
        row: as it is now.
        factor: time now / time before, after the machine's change of pace is taken out.
        noise: what ``factor`` may differ from 1 by chance.
    """

    row: Row
    factor: float
    noise: float

    @property
    def slower(self) -> bool:
        return self.factor > 1 + self.noise

    @property
    def faster(self) -> bool:
        return self.factor < 1 / (1 + self.noise)


def compare(before: Record, after: Record) -> list[Change]:
    """Rows that both have, the worst first.

    Two runs of the same code differ because the machine is slower for a while. Where both records have the peer's
    time, its change is taken out: nnlab is slower only if it is slower beside the peer. The noise is :data:`SURE`
    standard errors of all times that enter, at least :data:`LEAST`.
    """
    earlier = {row.key: row for row in before.rows}
    both = [(earlier[row.key], row) for row in after.rows if row.key in earlier]
    changes = [_change(*pair) for pair in both if pair[0].ours is not None and pair[1].ours is not None]
    return sorted(changes, key=lambda change: -change.factor / (1 + change.noise))


def _change(before: Row, after: Row) -> Change:
    assert before.ours is not None and after.ours is not None
    factor = after.ours.timing.median / before.ours.timing.median
    errors = [before.ours.timing.error, after.ours.timing.error]
    for name in before.peers.keys() & after.peers.keys():
        old, new = before.peers[name].timing, after.peers[name].timing
        pace = new.median / old.median
        beside = after.ours.timing.median / before.ours.timing.median / pace
        if abs(beside - 1) < abs(factor - 1):
            factor = beside
            errors += [old.error, new.error]
    noise = max(LEAST, SURE * sum(error**2 for error in errors) ** 0.5)
    return Change(after, factor, noise)
