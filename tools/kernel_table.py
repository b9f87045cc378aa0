"""Write docs/kernels.md, the table of what runs where, from the kernels' descriptions: ``make docs``."""

from __future__ import annotations

import pkgutil
import re
from itertools import groupby
from pathlib import Path

import nnlab.ops
from nnlab.cuda import sources
from nnlab.cuda.launch import Kernel
from nnlab.ops import CUDA_KERNELS, _cuda
from tools.mutation import results

FILE = Path(__file__).resolve().parent.parent / "docs" / "kernels.md"
# A pointer, or a table of pointers (kernels/include/tensors.cuh).
_ARRAY = re.compile(
    r"^\s*(?:const )?(?:\w+\* __restrict__|Tensors|ConstTensors) (\w+),\s*// ((?:\[[^\]]*\])+)", re.MULTILINE
)

HEAD = """\
# What runs where

Made by `make docs` from the kernels' descriptions in `nnlab/ops/_cuda` and the shapes in `kernels/*.cu`; not to be
edited.

Each kernel exists for its dtypes and for 32-bit and 64-bit indices, and for every value of its own macros. Arrays are
contiguous, the last dimension running fastest; the bodies copy others first. `scalar` is the data's dtype, `acc` the
one computed in: float32 for half types, else the data's. All kernels run on `cuda` and on `emulated`. Another dtype is
an error, except where the body says otherwise. On `cpu` all operations are array code over NumPy.
"""

MUTANTS = """
## Do the tests notice a mistake?

Each file of this table was changed in small ways (`make mutate`), one at a time, and its tests run: so many mutants
were killed; those that survived are explained in tools/mutation/survivors.toml. Files that are missing have only been
sampled (40 mutants of all files at each run of CI).
"""


def table() -> str:
    """The whole file."""
    parts = [HEAD]
    for unit, group in groupby(_cuda.kernels(), key=lambda kernel: kernel.unit):
        kernels = list(group)
        parts.append(f"## {unit}\n")
        parts.append("| pass | dtypes | arrays | macros |\n|---|---|---|---|")
        parts += [_row(kernel, _shapes(unit)[kernel.name]) for kernel in kernels]
        parts.append("")
    names = sorted({module.name for module in pkgutil.iter_modules(nnlab.ops.__path__)} - CUDA_KERNELS)
    plain = ", ".join(name for name in names if not name.startswith("_"))
    parts.append("## Operations without kernels\n")
    parts.append(f"On `cuda` array code over CuPy, on `emulated` over NumPy: {plain}.")
    parts.append(MUTANTS)
    parts += results.table(sources.folder())
    return "\n".join(parts) + "\n"


def _row(kernel: Kernel, shapes: dict[str, str]) -> str:
    arrays = [
        f"`{name}` {kind.partition('*')[0]} {shapes.get(name, '')}".rstrip()
        for name, kind in kernel.parameters.items()
        if "*" in kind
    ]
    macros = ", ".join(f"{name} {'/'.join(map(str, values))}" for name, values in kernel.variants.items())
    return f"| `{kernel.name}` | {', '.join(kernel.dtypes)} | {', '.join(arrays)} | {macros or '-'} |"


def _shapes(unit: str) -> dict[str, dict[str, str]]:
    """The shape in brackets beside each pointer, by kernel."""
    text = (sources.folder() / f"{unit}.cu").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = {}
    for part in text.split('extern "C" __global__ void ')[1:]:
        head = part.partition("{")[0]
        name = re.match(r"(?:__launch_bounds__\(.*\)\s+)?(\w+)\s*\(", head)
        found[name[1] if name else ""] = dict(_ARRAY.findall(head))
    return found


if __name__ == "__main__":
    FILE.write_text(table(), encoding="utf-8")
