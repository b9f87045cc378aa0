"""The process that measures. It answers each line of JSON on its input by lines of JSON; the last one has "done"."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from nnlab.backend import get_backend, resolve
from nnlab.bench import ceilings, measure, record, timing
from nnlab.bench.ceilings import Ceilings
from nnlab.bench.peer import Peer
from nnlab.bench.sensors import sensors
from nnlab.errors import MissingExtraError
from nnlab.types import as_dtype
from tools.gpu_bench.plan import plan


class Worker:
    """One device and its peer."""

    def __init__(self, device: str, options: dict[str, Any]) -> None:
        self.be: Any = get_backend(resolve(device)[0])
        self.items = plan(self.be.host_memory, **options)
        self.peer: Peer | None = None
        with contextlib.suppress(MissingExtraError):
            self.peer = Peer(self.be)
        self.sensors = sensors(self.be)

    def answers(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Requests: ``{"about": true}``, ``{"ceilings": dtype}``, ``{"item": number, "parts": [...], ...}``."""
        if "about" in request:
            facts = record.about(self.be, self.peer.version if self.peer else None)
            yield {"about": facts, "items": len(self.items), "sensors": self.sensors is not None}
        elif "ceilings" in request:
            yield {"ceilings": self.roof(request["ceilings"]).as_json()}
        else:
            yield from self.rows(**request)
        yield {"done": True}

    def rows(self, item: int, parts: list[str], ours: bool, compiled: bool, seconds: float) -> Iterator[dict[str, Any]]:
        chosen = self.items[item]
        for row in measure.rows(
            self.be, [chosen.problem], chosen.dtype, self.peer, seconds,
            ours=ours, compiled=compiled, sensors=self.sensors, parts=parts,
        ):  # fmt: skip
            yield {"row": row.as_json()}
            try:
                self.be.synchronize()
            except Exception as failure:  # e.g. after an illegal access: nothing works in this process any more
                yield {"spoilt": measure.reason(failure)}
                return

    def roof(self, dtype: str) -> Ceilings:
        """As ``nnlab bench`` measures them; where nnlab has no such numbers, the product is the peer's alone."""
        try:
            as_dtype(dtype)  # NumPy knows bfloat16 by name once its library is loaded
            return ceilings.measure(self.be, dtype, self.peer, 0.5)
        except Exception as failure:
            if self.peer is None:
                raise
            print(f"ceilings of {dtype}: {measure.reason(failure)}", file=sys.stderr)
            torch, (copied, side) = self.peer.torch, ceilings.sizes(self.be)
            a, b = (torch.randn(side, side, dtype=getattr(torch, dtype)) for _ in range(2))
            if not self.be.host_memory:
                a, b = (each.to(f"cuda:{self.be.device.index}") for each in (a, b))
            (product,) = timing.interleave(self.be, [[lambda: a @ b]], 0.5)
            x, y = (torch.ones(copied // 4, device=a.device) for _ in range(2))
            (copy,) = timing.interleave(self.be, [[lambda: y.copy_(x)]], 0.5)
            return Ceilings(2 * copied / copy.median, 2 * side**3 / product.median)


def main() -> None:
    """Arguments: the device, and the options of the plan as JSON."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    worker = Worker(sys.argv[1], json.loads(sys.argv[2]))
    for line in sys.stdin:
        for answer in worker.answers(json.loads(line)):
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
