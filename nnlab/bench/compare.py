"""What changed between two records."""

from __future__ import annotations

from dataclasses import dataclass

from nnlab.bench.measure import Row
from nnlab.bench.record import Record
from nnlab.bench.timing import Timing

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
    standard errors of all times that enter, at least :data:`LEAST`. A time's error has two parts: the spread of
    its repetitions, and how far rounds lie apart, of the row itself or of all rows of its operation, whichever is more.
    """
    earlier = {row.key: row for row in before.rows}
    drifts = _drifts(before), _drifts(after)
    changes = [_change(earlier[row.key], row, *drifts) for row in after.rows if row.key in earlier]
    return sorted(changes, key=lambda change: -change.factor / (1 + change.noise))


def _drifts(record: Record) -> dict[str, float]:
    """Of each operation, the root mean square of the deviations between rounds."""
    found: dict[str, list[float]] = {}
    for row in record.rows:
        for side in (row.ours, *row.peers.values()):
            found.setdefault(row.op, []).append(side.timing.drift)
    return {op: (sum(d * d for d in drifts) / len(drifts)) ** 0.5 for op, drifts in found.items()}


def _error(timing: Timing, drift: float) -> float:
    between = max(timing.drift, drift) / len(timing.rounds) ** 0.5
    return (timing.error**2 + between**2) ** 0.5


def _change(before: Row, after: Row, drift_before: dict[str, float], drift_after: dict[str, float]) -> Change:
    factor = after.ours.timing.median / before.ours.timing.median
    earlier, later = drift_before[before.op], drift_after[after.op]
    errors = [_error(before.ours.timing, earlier), _error(after.ours.timing, later)]
    for name in before.peers.keys() & after.peers.keys():
        old, new = before.peers[name].timing, after.peers[name].timing
        pace = new.median / old.median
        beside = after.ours.timing.median / before.ours.timing.median / pace
        if abs(beside - 1) < abs(factor - 1):
            factor = beside
            errors += [_error(old, earlier), _error(new, later)]
    noise = max(LEAST, SURE * sum(error**2 for error in errors) ** 0.5)
    return Change(after, factor, noise)
