"""docs/performance.md, from the newest record of each device: what was measured, where, when, from which sources."""

from __future__ import annotations

from pathlib import Path

from nnlab.bench.measure import Row
from nnlab.bench.record import Record, kernel_hashes, load
from nnlab.bench.report import COLUMNS, cells, geometric_mean, remarks, summary

HEAD = """\
# What operations cost

Made by `make docs` from the newest record of each device in `benchmarks/records`; not to be edited. `nnlab bench`
(`make bench`) measures the same on your machine; with `--separate` each library has a process of its own.

Times are medians of repetitions that take turns with PyTorch's in one process, over inputs that take turns too; on a
GPU with its cache flushed before each. A row's roofline is what its counted operations (a multiply-add counts two) or
its bytes (each array once) take at the speed of the machine's matrix product and copy, measured in the same run. Errors
are the largest deviation from float64, relative to the largest number. Ratio: PyTorch's time / nnlab's; on a GPU the
time of the fastest of PyTorch's layouts, its compiler and CuPy's array code, all in the same precision.
"""

CONV = ("conv", "conv_fold", "conv_mma", "conv_mma_precise")
# The kernel files that an operation of the table runs, on devices that run kernels.
_UNITS = {
    "conv2d": CONV,
    "conv_transpose2d": CONV,
    "max_pool2d": ("max_pool",),
    "local_response_norm": ("local_response_norm",),
    "dropout": ("dropout",),
    "cross_entropy": ("cross_entropy",),
    "optimizer": ("adam", "sgd"),
    "lstm": ("lstm_cell",),
    "training": (*CONV, "conv_relu", "conv_relu_max_pool", "cross_entropy", "max_pool", "relu", "sgd"),
}


def page(records: Path) -> str:
    """The text; ``records`` has a folder a device with files ``bench-*.json``."""
    newest = []
    for folder in sorted(path for path in records.iterdir() if path.is_dir()):
        files = sorted(folder.glob("bench-*.json"), key=lambda file: load(file).about["date"])
        if files:
            newest.append((files[-1].relative_to(records.parent.parent), load(files[-1])))
    parts = [HEAD]
    for file, record in newest:
        parts += _device(file, record)
    return "\n".join(parts)


def _device(file: Path, record: Record) -> list[str]:
    about = record.about
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    apart = ", a process for each library" if about.get("processes", 1) > 1 else ""
    blas = f"{apart} (BLAS: {about['blas']})" if "blas" in about else apart
    lines = [
        f"## {about['device']}",
        "",
        f"Measured {about['date']} UTC, commit {about['commit']}, {about['threads']} threads{blas}, {versions}.",
        f"Record: `{file}`.",
    ]
    for dtype, roof in record.ceilings.items():
        speeds = f"{roof.flops_per_second / 1e9:,.0f} GFLOP/s product, {roof.bytes_per_second / 1e9:.1f} GB/s copy"
        lines.append(f"Ceilings for {dtype}: {speeds}.")
    if not about["kernels_run"]:
        lines.append("Array code over NumPy, no kernels.")
    ratios = summary(record.rows)
    if ratios:
        lines += ["", "| operation | rows | geometric mean of ratios | worst |", "|---|---:|---:|---:|"]
        lines += [f"| {name} | {count} | {mean:.2f} | {worst:.2f} |" for name, count, mean, worst in ratios]
        mean = geometric_mean(row.ratio for row in record.rows if row.ratio is not None)
        lines.append(f"| all | {sum(n for _, n, _, _ in ratios)} | {mean:.2f} | {min(w for *_, w in ratios):.2f} |")
    for op in dict.fromkeys(row.op for row in record.rows):
        lines += ["", f"### {op}{_staleness(op, record)}", ""]
        lines += ["| layer | shape | pass | time | GFLOP/s | GB/s | of roof | PyTorch | ratio | error | PyTorch's |"]
        lines += ["|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
        lines += [_row(row, record) for row in record.rows if row.op == op]
    found = remarks(record)
    if found:
        lines += ["", "### Remarks", "", *(f"- {line}" for line in found)]
    return [*lines, ""]


def _staleness(op: str, record: Record) -> str:
    """The hashes of the kernels that an operation runs, and whether the sources have changed since."""
    if not record.about["kernels_run"] or op not in _UNITS:
        return ""
    then, now = record.about["kernels"], kernel_hashes()
    hashes = ", ".join(f"{unit} {then.get(unit, 'none')}" for unit in _UNITS[op])
    stale = any(then.get(unit) != now.get(unit) for unit in _UNITS[op])
    return f" (kernels {hashes}{'; stale: the sources have changed since' if stale else ''})"


def _row(row: Row, record: Record) -> str:
    named = dict(zip(COLUMNS, cells(row, record.ceilings.get(row.dtype)), strict=True))
    texts = [
        named["layer"] + ("" if row.dtype == "float32" else f", {row.dtype}"),
        row.shape,
        row.part,
        named["time"] + _rate(row),
        f"{row.flops / row.ours.timing.median / 1e9:.1f}" if row.flops and row.ours else "",
        *(named[column] for column in ("GB/s", "of roof", "peer", "ratio", "error", "peer's")),
    ]
    return f"| {' | '.join(texts)} |"


def _rate(row: Row) -> str:
    """Images per second of a training step; of a model of text, characters."""
    if row.op != "training" or row.ours is None:
        return ""
    batch, rest = row.shape.split("x", 1)
    rate = int(batch) / row.ours.timing.median
    number, _, unit = rest.partition(" ")
    if unit.startswith("characters"):
        return f" ({rate * int(number):,.0f} characters/s)"
    return f" ({rate:.1f} images/s)"
