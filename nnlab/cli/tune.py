"""``nnlab tune``: which values of a kernel's own macros are the fastest on this device."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from nnlab.errors import ArgumentError, complaint

if TYPE_CHECKING:
    from rich.console import Console

    from nnlab.bench.problem import Problem
    from nnlab.bench.tune import Finding


def tune(
    op: str = typer.Argument("", help="The operation, e.g. conv2d.", metavar="OP", show_default=False),
    device: str = typer.Option("cuda", help="cuda, cuda:N or emulated."),
    shapes: str | None = typer.Option(
        None, help="Sets of problems as in nnlab bench, e.g. alexnet,vgg16; default all that have the operation."
    ),
    dtype: str = typer.Option("float32", help="float32, float64, float16 or bfloat16."),
    batch: int | None = typer.Option(None, min=1, help="Images in a batch; default as in nnlab bench."),
    seconds: float = typer.Option(0.2, min=0.0, help="Time a choice may take in each pass of a problem."),
    json: Path | None = typer.Option(None, "--json", help="Write what this run finds to this file.", metavar="FILE"),
    list_: bool = typer.Option(False, "--list", help="Measure nothing: show what can be tuned, and the tables."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Measure nothing: show what would be."),
) -> None:
    """Try every variant of an operation's kernels: compare each with float64, then time those that are right.

    The fastest go to the device's table in the cache folder, which launches go by from then on. What the table has
    already for the same kernel sources is not measured again, so that a run that was stopped goes on. The exit code is
    1 if what a body takes of its own is wrong or fails.
    """
    from rich.console import Console

    console = Console(highlight=False, width=None if Console().is_terminal else 160)
    if list_:
        _list(console)
        return
    findings = _tune(console, op, device, shapes, dtype, batch, seconds, dry_run)
    if json is not None:
        text = json_module.dumps([{**found.as_json(), "kernel": found.kernel.name} for found in findings], indent=1)
        json.parent.mkdir(parents=True, exist_ok=True)
        json.write_text(text + "\n", encoding="utf-8")
        console.print(f"findings: {json}", soft_wrap=True)
    broken = sum(bool(c.why) and c.macros == found.preferred for found in findings for c in found.choices)
    if broken:
        console.print(f"[red]{broken} times the body's own choice is wrong or fails: a fault of nnlab or of the device")
        raise typer.Exit(1)


def _problems(op: str, shapes: str | None, batch: int | None, small: bool) -> list[Problem]:
    from nnlab.bench.shapes import SETS
    from nnlab.bench.tune import operations
    from nnlab.cli.bench import chosen

    known = operations()
    if op not in known:
        raise ArgumentError(complaint("tune", "OP", f"be of {', '.join(known)}, whose kernels have variants", op))
    problems = [problem for problem in chosen([], shapes or ",".join(SETS), batch, small) if problem.op == op]
    if not problems:
        raise ArgumentError(complaint("tune", "shapes", f"name a set that has {op}", shapes))
    return problems


def _tune(
    console: Console, op: str, device: str, shapes: str | None, dtype: str, batch: int | None, seconds: float, dry: bool
) -> list[Finding]:
    from nnlab.backend import get_backend, resolve
    from nnlab.bench import tune
    from nnlab.cuda import tuned
    from nnlab.types import as_dtype, is_floating

    problems = _problems(op, shapes, batch, small=device == "emulated")
    be: Any = get_backend(resolve(device)[0])
    if be.device.type == "cpu":
        raise ArgumentError(complaint("tune", "device", "be one that runs kernels (cuda, emulated)", device))
    if not is_floating(as_dtype(dtype)):
        raise ArgumentError(complaint("tune", "dtype", "be a floating dtype", dtype))
    results = tune.Results(be)
    console.print(f"{op} on {results.device}, {dtype}: {len(problems)} problems", markup=False)
    if be.host_memory:
        console.print("[yellow]the CPU runs the kernels here: these times say nothing about a GPU")
    if results.stale:
        console.print(f"{results.stale} entries of the table are for other kernel sources and are not used")
    findings = []
    with console.status("") as status:
        for found in tune.sweep(be, problems, dtype, seconds, results.known, dry):
            status.update(f"{found.problem.name} {found.part} {found.kernel.name}")
            findings.append(found)
            if found.choices:  # what was measured stays, whatever happens to the rest
                results.add(found)
    tuned.forget()
    console.print(_table(findings, {key: entry.macros for key, entry in results.known.items()}))
    if any(found.choices for found in findings):
        console.print(f"table: {results.path}", soft_wrap=True)
    return findings


def _table(findings: list[Finding], taken: dict[Any, Any]) -> Any:
    """A line for each choice of each finding."""
    from rich.markup import escape
    from rich.table import Table

    from nnlab.bench.report import duration
    from nnlab.bench.tune import label

    table = Table(header_style="bold", box=None, pad_edge=False)
    for name in ("layer", "pass", "kernel", "class", "variant"):
        table.add_column(name, no_wrap=True)
    for name in ("time", "ratio", "error"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for found in findings:
        _, _, sizes = found.key
        head = [found.problem.name, found.part, found.kernel.name, "x".join(map(str, sizes))]
        if not found.choices:
            every = ", ".join(map(label, found.every))
            table.add_row(*head, every, "", "", "", "in the table already" if found.known else "to be measured")
        own = next((c.timing for c in found.choices if c.macros == found.preferred), None)
        for choice in found.choices:
            time = choice.timing
            notes = ["own choice"] if choice.macros == found.preferred else []
            notes += ["[green]taken[/]"] if time and choice.macros == (taken[found.key] or found.preferred) else []
            notes += [f"[red]{escape(choice.why.splitlines()[0])}[/]"] if choice.why else []
            table.add_row(
                *head,
                label(choice.macros),
                "" if time is None else duration(time.median),
                "" if time is None or own is None else f"{own.median / time.median:.2f}",
                "" if choice.error is None else f"{choice.error:.0e}",
                ", ".join(notes),
            )
            head = [""] * len(head)
    return table


def _list(console: Console) -> None:
    """What can be tuned, and what was."""
    from nnlab.bench.tune import kernels, operations
    from nnlab.cuda import tuned

    for op in operations():
        for kernel in kernels(op):
            macros = "; ".join(f"{name} in {', '.join(map(str, values))}" for name, values in kernel.variants.items())
            console.print(f"{op:<18}{kernel.name:<24}{macros}")
    for one in tuned.overview():
        console.print(tuned.overview_text(one), soft_wrap=True, markup=False)
