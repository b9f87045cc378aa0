"""``nnlab bench``: what operations cost on this machine, and what changed between two records."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from nnlab.errors import ArgumentError, complaint

if TYPE_CHECKING:
    from rich.console import Console

    from nnlab.bench.problem import Problem
    from nnlab.bench.record import Record

_ALL = "alexnet,vgg16,training"


def bench(
    ops: list[str] = typer.Argument(None, help="Operations, e.g. conv2d max_pool2d; default all.", metavar="[OP]..."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:N or emulated."),
    shapes: str = typer.Option(
        _ALL, help="Sets of problems: alexnet, vgg16, resnet50, misc, transposed, lstm; training: whole steps."
    ),
    dtype: str = typer.Option("float32", help="float32, float64, float16 or bfloat16."),
    batch: int | None = typer.Option(None, min=1, help="Images in a batch; default suits CPU or GPU."),
    vs: str = typer.Option("auto", help="Peer: torch, none, or auto (torch if it is installed)."),
    peers_only: bool = typer.Option(False, "--peers-only", help="Time PyTorch alone, on the same problems."),
    compiled: bool = typer.Option(False, "--compile", help="Time whole steps under torch.compile too (minutes)."),
    seconds: float = typer.Option(0.5, min=0.0, help="Time a row may take in each library."),
    separate: bool = typer.Option(False, "--separate", help="Run each library in a process of its own (CPU)."),
    json: Path | None = typer.Option(None, "--json", help="Write the record to this file.", metavar="FILE"),
    pictures: Path | None = typer.Option(None, help="Write roofline.png and ratios.png there.", metavar="FOLDER"),
    rounds: int = typer.Option(2, min=1, help="Go through all rows so many times, sharing the time among them."),
    part: str = typer.Option("1/1", help="Measure only this share of the rows, e.g. 1/3.", metavar="I/N"),
    compare: tuple[str, str] = typer.Option(
        ("", ""),
        help="Measure nothing: show what changed from record A to record B.",
        metavar="A B",
        show_default=False,
    ),
    merge: list[Path] = typer.Option(
        None, help="Measure nothing: write one record of several parts to --json; once for each part.", metavar="FILE"
    ),
) -> None:
    """Time operations: seconds, TFLOP/s, GB/s, share of the roofline, and the ratio to PyTorch.

    The exit code is 1 if an operation failed, and with --compare if one became slower than the noise explains.
    """
    from rich.console import Console

    console = Console(highlight=False, width=None if Console().is_terminal else 160)
    if compare[0]:
        raise typer.Exit(_compare(console, Path(compare[0]), Path(compare[1])))
    if merge:
        _merge(console, merge, json)
        return
    sides = {"ours": not peers_only, "compiled": compiled}
    good = _measure(
        console, ops or [], device, shapes, dtype, batch, vs, sides, seconds, rounds, separate, json, pictures, part
    )
    if not good:
        raise typer.Exit(1)


def chosen(ops: list[str], shapes: str, batch: int | None, small: bool) -> list[Problem]:
    """The problems of the named sets, of the named operations.

    Raises:
        ArgumentError: there is no such set or operation.
    """
    from nnlab.bench.shapes import BATCHES, SETS
    from nnlab.bench.training import BATCHES as STEPS
    from nnlab.bench.training import TRAINING

    known = [*SETS, "training"]
    problems: list[Problem] = []
    for name in shapes.split(","):
        if name not in known:
            raise ArgumentError(complaint("bench", "shapes", f"be of {', '.join(known)}", name))
        if name == "training":
            problems += [TRAINING[net](batch or STEPS[net][not small]) for net in TRAINING]
        else:
            problems += SETS[name](batch or BATCHES[name][not small])
    offered = dict.fromkeys(problem.op for problem in problems)
    for op in ops:
        if op not in offered:
            raise ArgumentError(complaint("bench", "OP", f"be of {', '.join(offered)} for --shapes {shapes}", op))
    return [problem for problem in problems if not ops or problem.op in ops]


def _share(problems: list[Problem], part: str) -> list[Problem]:
    try:
        index, count = (int(number) for number in part.split("/"))
        good = 1 <= index <= count
    except ValueError:
        good = False
    if not good:
        raise ArgumentError(complaint("bench", "part", "be I/N with 1 <= I <= N", part))
    return problems[index - 1 :: count]


def _measure(
    console: Console, ops: list[str], device: str, shapes: str, dtype: str, batch: int | None, vs: str,
    sides: dict[str, bool], seconds: float, rounds: int, separate: bool, json: Path | None, pictures: Path | None,
    part: str,
) -> bool:  # fmt: skip
    """Whether nothing of nnlab failed."""
    from nnlab.backend import get_backend, resolve
    from nnlab.bench import ceilings, measure, record, report
    from nnlab.bench import separate as apart
    from nnlab.bench.sensors import sensors
    from nnlab.types import as_dtype, is_floating

    be: Any = get_backend(resolve(device)[0])
    if not is_floating(as_dtype(dtype)):
        raise ArgumentError(complaint("bench", "dtype", "be a floating dtype", dtype))
    if separate and str(be.device) != "cpu":
        raise ArgumentError(complaint("bench", "separate", "be for the device cpu", str(be.device)))
    if separate and sides != {"ours": True, "compiled": False}:
        raise ArgumentError("[bench] --separate goes with neither --peers-only nor --compile")
    problems = _share(chosen(ops, shapes, batch, small=be.host_memory), part)
    peer = _peer(be, vs)
    if peer is None and not sides["ours"]:
        raise ArgumentError("[bench] --peers-only needs a peer: install PyTorch, and not --vs none")
    roof = ceilings.measure(be, dtype, peer)
    about = record.about(be, peer.version if peer else None) | {"processes": 1 + (separate and peer is not None)}
    result = record.Record(about, {dtype: roof}, [])
    if separate:
        given = (problems, dtype, peer is not None, seconds / rounds)
        rows = (apart.rows(*given, check=i == 0) for i in range(rounds))
    else:
        more: dict[str, Any] = {**sides, "sensors": sensors(be)}
        rows = (measure.rows(be, problems, dtype, peer, seconds / rounds, check=i == 0, **more) for i in range(rounds))
    for row in _with_progress(console, chain.from_iterable(rows), problems, rounds):
        result.add(row)
        if json is not None:  # what was measured stays, whatever happens to the rest
            record.save(json, result)
    console.print(report.table(result, report.heading(result)))
    _print_summary(console, result)
    for line in report.remarks(result):
        console.print(line, soft_wrap=True, markup=False)
    if json is not None:
        console.print(f"record: {json}", soft_wrap=True)
    if pictures is not None:
        for path in report.pictures(result, pictures):
            console.print(f"picture: {path}", soft_wrap=True)
    return not any(row.failed for row in result.rows)


def _merge(console: Console, parts: list[Path], json: Path | None) -> None:
    from nnlab.bench import record

    if json is None:
        raise ArgumentError("[bench] --merge needs --json FILE, where to write")
    result = record.merge([record.load(path) for path in parts])
    record.save(json, result)
    console.print(f"record: {json}, {len(result.rows)} rows", soft_wrap=True)


def _peer(be: Any, vs: str) -> Any:
    from nnlab.bench.peer import Peer
    from nnlab.errors import MissingExtraError

    if vs not in ("auto", "torch", "none"):
        raise ArgumentError(complaint("bench", "vs", "be auto, torch or none", vs))
    if vs == "none" or str(be.device) == "emulated":
        return None
    try:
        return Peer(be)
    except MissingExtraError:
        if vs == "torch":
            raise
        return None


def _with_progress(console: Console, rows: Any, problems: list[Problem], rounds: int) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    total = rounds * sum(len(problem.parts) for problem in problems)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("warming up", total=total)
        for row in rows:
            progress.update(task, advance=1, description=f"{row.op} {row.network} {row.layer} {row.part}")
            yield row


def _print_summary(console: Console, record: Record) -> None:
    from nnlab.bench import report

    lines = report.summary(record.rows)
    if lines:
        console.print("\nPyTorch's time / nnlab's: geometric mean, worst")
        for name, count, mean, worst in lines:
            console.print(f"  {name:<34} {count:>3} rows  {mean:6.2f}  {worst:6.2f}")


def _compare(console: Console, first: Path, second: Path) -> int:
    from nnlab.bench.compare import compare
    from nnlab.bench.record import load
    from nnlab.bench.report import duration

    before, after = load(first), load(second)
    if before.about["device"] != after.about["device"]:
        raise ArgumentError(
            f"[bench] the records are of different devices: {before.about['device']} and {after.about['device']}"
        )
    changes = compare(before, after)
    if not changes:
        raise ArgumentError(f"[bench] {first} and {second} have no row in common")
    slower = [change for change in changes if change.slower]
    faster = [change for change in changes if change.faster]
    for name, listed, color in (("slower", slower, "red"), ("faster", faster, "green")):
        for change in listed:
            row = change.row
            assert row.ours is not None
            console.print(
                f"[{color}]{name}[/] {row.op} {row.network} {row.layer} {row.part}: {change.factor:.2f} times the time "
                f"(noise {change.noise:.0%}), now {duration(row.ours.timing.median)}",
                soft_wrap=True,
            )
    console.print(f"{len(changes)} rows: {len(slower)} slower, {len(faster)} faster, the rest within the noise")
    return 1 if slower else 0
