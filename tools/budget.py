"""Compile the kernels for every architecture and compare what they take with tools/budget.json.

    make kernels                              compile and compare; ends with an error on a spill or a rise
    make kernels ARGS=--update                lower the figures to what was found, add those of new kernels
    make kernels ARGS='--update --reason "two rows a thread"'   raise figures too; the reason is kept beside them

The budget holds the registers a thread and the bytes of static shared memory a block, one architecture a generation.
It was made with one version of NVRTC; with another, spills alone are checked. For further architectures of a generation
one build of each kernel is compiled, with 64-bit indices, which take the most. No GPU is needed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby, product
from pathlib import Path
from typing import Any

from nnlab.backend import cuda
from nnlab.cuda.compiler import CompileError, Usage, compile_unit
from nnlab.cuda.launch import dtype_macros
from nnlab.cuda.variants import INDEX_BITS, Variant, own_macros
from nnlab.errors import MissingExtraError
from nnlab.ops._cuda import kernels

FILE = Path(__file__).with_name("budget.json")
GENERATIONS = ("sm_75", "sm_80", "sm_89", "sm_90a", "sm_100a", "sm_120a")


@dataclass
class Budget:
    """Figures by variant, one for each architecture of ``architectures``."""

    nvrtc: str
    architectures: list[str]
    registers: dict[str, list[int]] = field(default_factory=dict)
    shared: dict[str, list[int]] = field(default_factory=dict)  # kernels without shared memory are left out
    reasons: dict[str, str] = field(default_factory=dict)  # why figures of a variant were raised

    @classmethod
    def read(cls, path: Path = FILE) -> Budget:
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path = FILE) -> None:
        """One line a variant, so that a change shows."""
        parts = []
        for name, value in vars(self).items():
            if isinstance(value, dict):
                lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value[key])}" for key in sorted(value))
                parts.append(f'"{name}": {{\n{lines}\n}}' if value else f'"{name}": {{}}')
            else:
                parts.append(f'"{name}": {json.dumps(value)}')
        path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


Build = tuple[str, str, str, int, tuple[tuple[str, int], ...]]  # unit, architecture, dtype, index bits, own macros
Found = dict[tuple[str, str], Usage]  # by variant and architecture


def architectures() -> list[str]:
    """Everything that the installed NVRTC compiles for, from Turing on."""
    supported = cuda.nvrtc().getSupportedArchs()
    return [arch for n in supported if n >= 75 and (arch := cuda.pick_arch(divmod(n, 10), supported)) is not None]


def builds(archs: list[str]) -> dict[Build, list[str]]:
    """What has to be compiled, and for which kernels. Macros that a kernel has not keep their default."""
    found: dict[Build, list[str]] = {}
    for unit, group in groupby(kernels(), key=lambda kernel: kernel.unit):
        members = list(group)
        defaults = {name: values[0] for kernel in members for name, values in kernel.variants.items()}
        for kernel in members:
            for dtype, bits, own, arch in product(kernel.dtypes, INDEX_BITS, own_macros(kernel), archs):
                macros = defaults | own
                if arch in GENERATIONS or (dtype, bits, macros) == (kernel.dtypes[0], 64, defaults):
                    found.setdefault((unit, arch, dtype, bits, tuple(macros.items())), []).append(kernel.name)
    return found


def usage(build: Build) -> dict[str, Usage] | str:
    """What the kernels of a build take, or the compiler's complaint."""
    unit, arch, dtype, bits, own = build
    try:
        return compile_unit(unit, arch=arch, macros=dtype_macros(dtype, bits) | dict(own)).usage
    except CompileError as error:
        return str(error)


def measure(archs: list[str]) -> tuple[Found, list[str]]:
    """Compile everything, in as many processes as there are cores: what was found, and complaints."""
    wanted, found, wrong = builds(archs), {}, []
    described = {kernel.name: kernel for kernel in kernels()}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for (build, names), result in zip(wanted.items(), pool.map(usage, wanted, chunksize=4), strict=True):
            if isinstance(result, str):
                wrong.append(result)
                continue
            for name in names:
                own = tuple((macro, value) for macro, value in build[4] if macro in described[name].variants)
                found[str(Variant(name, build[2], build[3], own)), build[1]] = result[name]
    return found, wrong


def spills(found: Found) -> list[str]:
    return [
        f"{variant} on {arch} spills: {took.spill_stores} bytes stored, {took.spill_loads} loaded"
        for (variant, arch), took in found.items()
        if took.spill_stores or took.spill_loads
    ]


def made_of(found: Found, nvrtc: str, archs: list[str]) -> Budget:
    """The budget that what was found just meets."""
    budget = Budget(nvrtc, archs)
    for variant in dict.fromkeys(variant for variant, _ in found):
        took = [found[variant, arch] for arch in archs]
        budget.registers[variant] = [usage.registers for usage in took]
        if any(usage.shared for usage in took):
            budget.shared[variant] = [usage.shared for usage in took]
    return budget


def compare(budget: Budget, new: Budget) -> tuple[list[str], list[str], list[str]]:
    """Variants that take more than the budget, with the figures; variants that take less, or are new; those gone."""
    above, other = [], []
    for variant, registers in new.registers.items():
        if variant not in budget.registers:
            other.append(variant)
            continue
        for what, old, now in (
            ("registers", budget.registers[variant], registers),
            ("bytes of shared memory", _shared(budget, variant), _shared(new, variant)),
        ):
            for arch, before, after in zip(new.architectures, old, now, strict=True):
                if after > before:
                    above.append(f"{variant} on {arch}: {after} {what}, the budget is {before}")
                elif after < before:
                    other.append(variant)
    return above, list(dict.fromkeys(other)), [name for name in budget.registers if name not in new.registers]


def _shared(budget: Budget, variant: str) -> list[int]:
    return budget.shared.get(variant, [0] * len(budget.architectures))


def updated(budget: Budget, new: Budget, reason: str | None) -> Budget:
    """The new figures, with the reasons of old and of new rises."""
    raised = {line.partition(" on ")[0] for line in compare(budget, new)[0]}
    kept = {variant: why for variant, why in budget.reasons.items() if variant in new.registers}
    new.reasons = {**kept, **dict.fromkeys(raised, reason or "")}
    return new


def main() -> int:
    parser = argparse.ArgumentParser(prog="make kernels", description=__doc__.partition("\n")[0])
    parser.add_argument("--update", action="store_true", help="write the figures that were found to tools/budget.json")
    parser.add_argument("--reason", help="why figures may rise")
    arguments = parser.parse_args()
    try:
        archs, version = architectures(), cuda.nvrtc_version()
    except MissingExtraError as error:
        print(error)
        return 1
    start = time.monotonic()
    found, wrong = measure(archs)
    print(f"{len(builds(archs))} builds of {len(kernels())} kernels for {', '.join(archs)} with NVRTC {version}")
    print(f"compiled in {time.monotonic() - start:.0f} s (what the cache held was not compiled again)")
    wrong += spills(found)
    return finish(found, wrong, version, [arch for arch in GENERATIONS if arch in archs], arguments)


def finish(found: Found, wrong: list[str], version: str, archs: list[str], arguments: Any) -> int:
    """Compare with the budget, write it if asked to, print what is wrong."""
    budget = Budget.read() if FILE.is_file() else Budget(version, archs)
    if not wrong and (arguments.update or (budget.nvrtc, budget.architectures) == (version, archs)):
        new = made_of(found, version, archs)
        same = (budget.nvrtc, budget.architectures) == (version, archs)
        above, other, gone = compare(budget, new) if same else ([], list(new.registers), [])
        if not arguments.update:
            wrong += [f"{line}; to raise it: make kernels ARGS='--update --reason \"...\"'" for line in above]
            if other or gone:
                print(f"{len(other)} builds are new or take less, {len(gone)} are gone: make kernels ARGS=--update")
        elif above and not arguments.reason:
            wrong += [f"{line}; raising it needs a --reason" for line in above]
        else:
            (updated(budget, new, arguments.reason) if same else new).write()
            print(f"{FILE.name}: {len(new.registers)} builds, {len(above)} figures raised")
    elif not wrong:
        print(
            f"the budget was made with NVRTC {budget.nvrtc} for {', '.join(budget.architectures)}: spills alone checked"
        )
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
