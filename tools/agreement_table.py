"""Write docs/agreement.md, how far each layer's results are from float64's on each device: ``make docs``."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nnlab.backend import emulated
from tests.nn.agreement import DTYPES, LAYERS, Figure, digest, entry

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docs" / "agreement.md"
RECORDS = ROOT / "benchmarks" / "records"
MEASURED = ("cpu", "emulated")
NOT_RUN = "not run"

# Half the distance between neighbouring numbers, as a part of them.
ROUNDING = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}

HEAD = """\
# How far results are from float64

Made by `make docs` from runs of `tests/nn/agreement.py`; not to be edited. `make test` measures again
(`tests/test_agreement.py`).

Each layer of `nnlab.nn` runs on a device in a dtype, forward and backward, on up to three rows of the table of cases
(`tests/nn/cases.py`): the first, the one with most arguments, and of a convolution the one that tensor cores take
(`emulated` launches their kernels too). A figure is the largest error of any array that comes out of these runs:
outputs, gradients of inputs and of parameters, running statistics. An array's error is its largest difference from the
wanted one, divided by the largest number in the wanted one.

- `cpu float64`: the distance from PyTorch's float64 result; the tests allow 1e-10 on all rows (but for `Hardsigmoid`,
  where PyTorch multiplies by a sixth rounded to float32). `no twin`: PyTorch has no such layer, or it draws random
  numbers; its tests compute what it gives, given the random numbers.
- All others: the distance from the result on `cpu` in float64 of the same inputs and parameters, which were rounded to
  the dtype first. So one rounding of the results is part of it:
  {roundings}.
- Figures are rounded up to 1, 2 or 5 times a power of ten; `0` means that all bits agree.
- `-`: the layer raises a `DtypeError` that says so.
- `cuda` is filled from records of GPUs alone, `benchmarks/records/<device>/agreement.json` (the largest figure of
  several), and only while the kernel files are those that ran there. `not run` is owed for the files in the last
  column, with the first digits of their SHA-256 (headers included). A layer without kernel files is array code.

"""


def step(error: float) -> str:
    """An error rounded up to 1, 2 or 5 times a power of ten."""
    if error == 0 or not math.isfinite(error):
        return "0" if error == 0 else "wrong"
    power = math.floor(math.log10(error))
    steps = [f"{digit}e{power}" for power in (power, power + 1) for digit in (1, 2, 5)]
    return next(step for step in steps if float(step) >= error)


def word(figure: Figure) -> str:
    """A figure as it stands in the table."""
    return figure.partition(":")[0] if isinstance(figure, str) else step(figure)


def allowed(stated: str, dtype: str, factor: float) -> float:
    """How large an error may be where the page states this one; one rounding stands for less."""
    return factor * max(float(stated), ROUNDING[dtype])


Cells = dict[tuple[str, str, str], str]  # by layer, device and dtype
Units = dict[str, list[str]]  # kernel files by layer


def page(cells: Cells, units: Units, records: Iterable[Mapping[str, Any]]) -> str:
    """The whole file; the digests are those of the kernel files as they are."""
    records = list(records)
    columns = [f"{device} {dtype}" for device in (*MEASURED, "cuda") for dtype in DTYPES]
    lines = [_line("layer", *columns, "kernel files"), "|---" * (len(columns) + 2) + "|"]
    for name in LAYERS:
        figures = [cells.get((name, device, dtype), "?") for device in MEASURED for dtype in DTYPES]
        figures += [on_cuda(name, dtype, records) for dtype in DTYPES]
        files = ", ".join(f"{unit} `{digest(unit)}`" for unit in units.get(name, []))
        lines.append(_line(f"`{name}`", *figures, files or "none"))
    roundings = ", ".join(f"{step(value)} in {dtype}" for dtype, value in ROUNDING.items())
    cards = sorted({str(record["machine"].get("gpu")) for record in records}) or ["none so far"]
    return HEAD.format(roundings=roundings) + "\n".join(lines) + f"\n\nGPUs with a record: {', '.join(cards)}.\n"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def read(text: str) -> tuple[Cells, Units]:
    """What a page states of the devices that every machine has."""
    cells: Cells = {}
    units: Units = {}
    for name, rest in re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE):
        *figures, files = rest.split(" | ")
        cells |= zip(((name, device, dtype) for device in MEASURED for dtype in DTYPES), figures, strict=False)
        units[name] = re.findall(r"(\w+) `", files)
    return cells, units


def records(folder: Path = RECORDS) -> list[dict[str, Any]]:
    """What GPUs gave."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*/agreement.json"))]


def on_cuda(name: str, dtype: str, found: Iterable[Mapping[str, Any]]) -> str:
    """The largest figure of the records whose kernel files are those that are here."""
    figures: list[Figure] = []
    for record in found:
        layer = record["layers"].get(name, {"figures": {}, "kernels": {}})
        if dtype in layer["figures"] and all(digest(unit) == was for unit, was in layer["kernels"].items()):
            figures.append(layer["figures"][dtype])
    words = [figure for figure in figures if isinstance(figure, str)]
    return NOT_RUN if not figures else word(words[0] if words else max(figures))


def measure(name: str) -> tuple[Cells, Units]:
    """A layer's figures and kernel files, as far as this machine can tell."""
    cells: Cells = {}
    units: Units = {}
    for device in MEASURED:
        if device == "emulated" and emulated.why_unusable() is not None:
            continue
        found = entry(name, device)
        cells |= {(name, device, dtype): word(figure) for dtype, figure in found["figures"].items()}
        units[name] = list(found["kernels"])
    return cells, units


def main() -> None:
    warnings.simplefilter("ignore")  # PyTorch's about layers that it builds
    cells, units = read(FILE.read_text(encoding="utf-8")) if FILE.exists() else ({}, {})
    for name in LAYERS:
        new, files = measure(name)
        cells |= new
        units |= files
    FILE.write_text(page(cells, units, records()), encoding="utf-8")


if __name__ == "__main__":
    main()
