"""Measure on a GPU all that there is to measure, within a given time: ``make gpu-bench``.

    python3 -m tools.gpu_bench --part 1/3 --out FOLDER --minutes 8

in a checkout. Needs Python 3.11 with NumPy, CuPy and PyTorch; no network. The most important rows come first, each gets
its share of the time that is left, and what did not fit is listed. The folder gets a record (JSON), a table (text) and
what the measuring process printed; ``nnlab bench --merge`` makes one record of several parts.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from nnlab.bench import record, report
from tools.gpu_bench.plan import plan
from tools.gpu_bench.session import PEERS_ONLY, ROOT, Lost, Session, Worker

RESERVE = 5.0  # seconds for ending and writing


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make gpu-bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "gpu-bench", help="folder of the files")
    parser.add_argument("--part", default="1/1", help="only this share of the rows, I/N")
    parser.add_argument("--minutes", type=float, default=8.0, help="time that all takes together")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--peers-only", action="store_true", help="time PyTorch and CuPy without nnlab")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--sets", default="", help="only these, e.g. alexnet,lstm,training")
    parser.add_argument("--dtypes", default="", help="only these, e.g. float32,bfloat16")
    parser.add_argument("--batch", type=int, help="another size of batch")
    found = parser.parse_args()
    try:
        found.index, found.count = map(int, found.part.split("/"))
    except ValueError:
        found.index = 0
    if found.index < 1 or found.index > found.count:
        parser.error(f"argument --part: must be I/N with 1 <= I <= N, got {found.part!r}")
    return found


def main() -> int:
    start, given = time.monotonic(), arguments()
    options = {"batch": given.batch, "sets": given.sets, "dtypes": given.dtypes}
    items = list(enumerate(plan(given.device == "cpu", **options)))[given.index - 1 :: given.count]
    given.out.mkdir(parents=True, exist_ok=True)
    name = given.out / f"bench-{given.index}-of-{given.count}"
    log = name.with_suffix(".log")
    log.write_text("", encoding="utf-8")
    session = Session(
        lambda: Worker(["-m", "tools.gpu_bench.worker", given.device, json.dumps(options)], log),
        items,
        PEERS_ONLY if given.peers_only else int(given.no_compile),
        time.monotonic,
        start + 60 * given.minutes - RESERVE,
        lambda result: record.save(name.with_suffix(".json"), result),
    )
    session.record.about["part"] = given.part
    try:
        result = session.run()
    except Lost as lost:
        print(f"gpu-bench: nothing could be measured: {lost}")
        return 2
    name.with_suffix(".txt").write_text(report.text(result, report.heading(result)), encoding="utf-8")
    failed = [row for row in result.rows if row.failed]
    print(report.heading(result))
    for line in report.remarks(result):
        print(f"  {line[:400]}")
    print("peer's time / nnlab's: geometric mean, worst")
    for label, count, mean, worst in report.summary(result.rows):
        print(f"  {label:<44} {count:>3} rows  {mean:6.2f}  {worst:6.2f}")
    print(f"gpu-bench: {len(result.rows)} rows, {len(failed)} failed, {len(result.about['not_measured'])} not measured")
    print(f"gpu-bench: {time.monotonic() - start:.0f} s; {name}.json, .txt, .log")
    return 1 if failed or not result.rows else 0


if __name__ == "__main__":
    sys.exit(main())
