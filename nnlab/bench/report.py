"""The table, and the pictures beside it."""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, log
from pathlib import Path
from typing import TYPE_CHECKING

from nnlab import figures
from nnlab.bench.ceilings import Ceilings
from nnlab.bench.measure import Row, Side
from nnlab.bench.record import Record

if TYPE_CHECKING:
    from rich.table import Table

_PURPOSE = "[bench] --pictures"


def duration(seconds: float) -> str:
    """Three digits, and a unit that suits them."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1 or unit == "µs":
            return f"{seconds * factor:.3g} {unit}" if seconds * factor < 1000 else f"{seconds * factor:.0f} {unit}"
    raise AssertionError


def geometric_mean(numbers: Iterable[float]) -> float:
    logs = [log(number) for number in numbers]
    return exp(sum(logs) / len(logs)) if logs else float("nan")


COLUMNS = ("operation", "layer", "pass", "time", "±", "TFLOP/s", "GB/s", "of roof", "peer", "ratio", "error", "peer's")


def cells(row: Row, ceilings: Ceilings | None) -> tuple[str, ...]:
    """A row as the table shows it; nnlab's columns are empty where it was not measured."""
    ours, peer = row.ours, row.peer
    theirs = None if peer is None else row.peers[peer]
    mine = ("failed" if row.failed else "", *[""] * 4) if ours is None else _speeds(row, ours, ceilings)
    return (
        row.op,
        f"{row.network} {row.layer}",
        row.part,
        *mine,
        "" if theirs is None else duration(theirs.timing.median) + (f" ({peer})" if len(row.peers) > 1 else ""),
        "" if row.ratio is None else f"{row.ratio:.2f}",
        "" if ours is None else _error(ours.error),
        "" if theirs is None else _error(theirs.error),
    )


def _speeds(row: Row, ours: Side, ceilings: Ceilings | None) -> tuple[str, ...]:
    time = ours.timing.median
    times = (duration(time) + (" throttled" if row.throttled else ""), f"{ours.timing.spread:.0%}")
    if row.bytes == 0:  # of whole networks that no set of problems lists, nothing is counted
        return (*times, "", "", "")
    speeds = (f"{row.flops / time / 1e12:.3f}", f"{row.bytes / time / 1e9:.1f}")
    if ceilings is None:
        return (*times, *speeds, "")
    return (*times, *speeds, f"{row.fraction(ceilings.bytes_per_second, ceilings.flops_per_second):.0%}")


def remarks(record: Record) -> list[str]:
    """What the columns have no room for: all sides where there are many, failures, readings, what was not measured."""
    lines = []
    for row in record.rows:
        sides = {**({} if row.ours is None else {"nnlab": row.ours}), **row.peers, **row.others}
        found = [f"{name} {duration(side.timing.median)}" for name, side in sides.items()] if row.others else []
        found += [f"{name}: {why}" for name, why in row.notes.items()]
        if row.throttled:
            found.append(f"the card was held back: {', '.join(row.readings['slowed'])}")
        if "joules_per_image" in row.readings:
            joules = row.readings["joules_per_image"].items()
            found.append("joules an image: " + ", ".join(f"{name} {value:.3g}" for name, value in joules))
        if "peak_bytes" in row.readings:
            peaks = row.readings["peak_bytes"].items()
            found.append("memory a step takes: " + ", ".join(f"{name} {value / 1e6:.0f} MB" for name, value in peaks))
        if found:
            lines.append(f"{row.op} {row.network} {row.layer} {row.part} {row.dtype}: {'; '.join(found)}")
    missing = record.about.get("not_measured", [])
    return [*lines, *([f"not measured: {'; '.join(missing)}"] if missing else [])]


def heading(record: Record) -> str:
    """What holds for all rows."""
    about = record.about
    roofs = "; ".join(
        f"{dtype}: {roof.flops_per_second / 1e12:.3f} TFLOP/s product, {roof.bytes_per_second / 1e9:.1f} GB/s copy"
        for dtype, roof in record.ceilings.items()
    )
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    apart = ", a process for each library" if about.get("processes", 1) > 1 else ""
    machine = f"{about['device']}, {about['threads']} threads{apart} (BLAS: {about['blas']})"
    return f"{machine}; {roofs}\n{versions}, commit {about['commit']}"


def text(record: Record, title: str) -> str:
    """The table for a file, and the remarks under it."""
    lines = [(*COLUMNS, "dtype"), *[(*cells(row, record.ceilings.get(row.dtype)), row.dtype) for row in record.rows]]
    widths = [max(map(len, column)) for column in zip(*lines)]
    left = len(("operation", "layer", "pass"))
    rows = [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))
        )
        for line in lines
    ]
    return "\n".join([title, "", *rows, "", *remarks(record)]) + "\n"


def _error(error: float | None) -> str:
    return "" if error is None else "0" if error == 0 else f"{error:.0e}"


def table(record: Record, title: str) -> Table:
    """All rows; ratios below 1 are red, above 1 green."""
    from rich.table import Table

    result = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for name in COLUMNS:
        result.add_column(name, justify="left" if name in ("operation", "layer", "pass") else "right", no_wrap=True)
    last = None
    for row in record.rows:
        texts = list(cells(row, record.ceilings.get(row.dtype)))
        if row.ratio is not None:
            texts[9] = f"[{'green' if row.ratio >= 1 else 'red'}]{texts[9]}[/]"
        if last is not None and (row.op, row.network) != last:
            result.add_section()
        last = row.op, row.network
        result.add_row(*texts)
    return result


def summary(rows: list[Row]) -> list[tuple[str, int, float, float]]:
    """For each operation and pass with a peer: its name, rows, geometric mean of the ratios, and the worst."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        if row.ratio is not None:
            dtype = "" if row.dtype == "float32" else f" {row.dtype}"
            groups.setdefault(f"{row.op} {row.part}{dtype}", []).append(row.ratio)
    return [(name, len(ratios), geometric_mean(ratios), min(ratios)) for name, ratios in groups.items()]


def pictures(record: Record, folder: Path) -> list[Path]:
    """``roofline.png`` and, with a peer, ``ratios.png``; nothing where only peers were measured.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if all(row.ours is None for row in record.rows):
        return []
    made = [_roofline(record, folder / "roofline.png")]
    if any(row.ratio is not None for row in record.rows):
        made.append(_ratios(record, folder / "ratios.png"))
    return made


def _roofline(record: Record, path: Path) -> Path:
    """Speed against operations per byte, under the machine's two ceilings."""
    figure, ((axis,),) = figures.subplots(9, 6, purpose=_PURPOSE)
    dtype = next(row.dtype for row in record.rows if row.ours is not None)
    roof = record.ceilings[dtype]
    counted = [row for row in record.rows if row.dtype == dtype and row.flops and row.ours is not None]
    intensity = [row.flops / row.bytes for row in counted]
    low, high = min(intensity) / 2, max(*intensity, roof.flops_per_second / roof.bytes_per_second) * 2
    xs = [low * (high / low) ** (i / 200) for i in range(201)]
    axis.plot(xs, [min(x * roof.bytes_per_second, roof.flops_per_second) / 1e9 for x in xs], color="black")
    axis.annotate("copy", (xs[20], xs[20] * roof.bytes_per_second / 1e9), xytext=(0, 6), textcoords="offset points")
    axis.annotate(
        "matrix product", (xs[-1], roof.flops_per_second / 1e9), xytext=(0, 6), textcoords="offset points", ha="right"
    )
    for number, op in enumerate(dict.fromkeys(row.op for row in counted)):
        mine = [row for row in counted if row.op == op]
        x = [row.flops / row.bytes for row in mine]
        color = f"C{number}"
        axis.scatter(
            x,
            [row.flops / row.ours.timing.median / 1e9 for row in mine if row.ours],
            s=28,
            color=color,
            label=op,
            zorder=3,
        )
        theirs = [(i, row.flops / row.peers[row.peer].timing.median / 1e9) for i, row in zip(x, mine) if row.peer]
        if theirs:
            axis.scatter(*zip(*theirs), s=28, facecolors="none", edgecolors=color, zorder=2)
    axis.set(xscale="log", yscale="log", xlabel="floating-point operations per byte", ylabel="GFLOP/s")
    has_peer = any(row.peer for row in counted)
    note = "; filled: nnlab, hollow: PyTorch" if has_peer else ""
    axis.set_title(f"{record.about['device']}, {dtype}{note}", fontsize=10, loc="left")
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8, loc="lower right")
    return figures.save(figure, path)


def _ratios(record: Record, path: Path) -> Path:
    """A bar a row: PyTorch's time / nnlab's, on a logarithmic axis around 1."""
    rows = [row for row in record.rows if row.ratio is not None]
    figure, ((axis,),) = figures.subplots(9, 1.2 + 0.2 * len(rows), purpose=_PURPOSE)
    ratios = [row.ratio or 1.0 for row in rows]
    places = range(len(rows))
    colors = ["#2a7f3f" if ratio >= 1 else "#b5402d" for ratio in ratios]
    axis.barh(places, [ratio - 1 for ratio in ratios], left=1, color=colors, height=0.7)
    for place, ratio in zip(places, ratios):
        side = 1 if ratio >= 1 else -1
        axis.annotate(
            f"{ratio:.2f}", (ratio, place), xytext=(3 * side, 0), textcoords="offset points", va="center",
            ha="left" if side > 0 else "right", fontsize=7,
        )  # fmt: skip
    labels = [f"{row.op} {row.network} {row.layer}, {row.part}" for row in rows]
    axis.set_yticks(list(places), labels, fontsize=7)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.axvline(1, color="black", linewidth=0.8)
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if min(ratios) / 1.6 <= t <= max(ratios) * 1.6]
    axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axis.set_xlim(min(*ratios, 1) / 1.5, max(*ratios, 1) * 1.5)
    axis.minorticks_off()
    axis.margins(y=0.01)
    axis.set_title(
        f"PyTorch's time / nnlab's (right of 1: nnlab is faster); {record.about['device']}", fontsize=9, loc="left"
    )
    axis.grid(axis="x", alpha=0.25)
    return figures.save(figure, path)
