"""Machine code of kernels: nvdisasm's text as instructions and loops, and how many blocks a multiprocessor holds."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nnlab.cuda.compiler import Usage
from nnlab.errors import MissingExtraError

_SECTION = re.compile(r"^\.text\.(\w+):$", re.MULTILINE)
_LABEL = re.compile(r"^(\.L_x_\d+):")
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@(!?U?P\w+)\s+)?([A-Z]\w*(?:\.\w+)*)\s*([^;]*);")
_BRANCH = re.compile(r"\((\.L_x_\d+)\)")


@dataclass(frozen=True)
class Instruction:
    """``@!P0 LDS.64 R8, [R9]``: operation ``LDS.64``; never: its predicate is always false."""

    op: str
    operands: str
    never: bool


@dataclass(frozen=True)
class Code:
    """A kernel's instructions in the order of memory, and its loops: first and last instruction."""

    instructions: list[Instruction]
    loops: list[tuple[int, int]]

    def main_loop(self) -> list[Instruction]:
        """The smallest loop that has products of tensor cores, with the loops inside it."""
        bodies = [self.instructions[first : last + 1] for first, last in self.loops]
        return min((body for body in bodies if count(body, "HMMA")), key=len, default=[])


def count(code: list[Instruction], op: str) -> int:
    """Instructions whose operation begins so, but for those that are never executed."""
    return sum(i.op.startswith(op) and not i.never for i in code)


def nvdisasm() -> str:
    """The disassembler: from its wheel, else the one on the search path.

    Raises:
        MissingExtraError: there is none.
    """
    spec = importlib.util.find_spec("nvidia")
    for wheel in (spec.submodule_search_locations or []) if spec else []:
        for place in Path(wheel).glob("cu*/bin/nvdisasm"):
            return str(place)
    found = shutil.which("nvdisasm")
    if found is None:
        raise MissingExtraError("[nvdisasm] the disassembler was not found: pip install 'nnlab[nvdisasm]'")
    return found


def disassembled(cubin: Path) -> dict[str, Code]:
    """The code of each kernel of a cubin."""
    done = subprocess.run([nvdisasm(), "-c", str(cubin)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"nvdisasm: {done.stderr.strip()}")
    return dict(parsed(done.stdout))


def parsed(text: str) -> Iterator[tuple[str, Code]]:
    """Kernels by name. A loop is what lies between a branch and a label before it."""
    sections = _SECTION.split(text)
    for name, section in zip(sections[1::2], sections[2::2], strict=True):
        instructions: list[Instruction] = []
        labels: dict[str, int] = {}
        loops = []
        for line in section.splitlines():
            if label := _LABEL.match(line):
                labels[label[1]] = len(instructions)
            elif found := _INSTRUCTION.match(line):
                predicate, op, operands = found.groups()
                target = _BRANCH.search(operands) if op.startswith("BRA") else None
                if target and target[1] in labels:
                    loops.append((labels[target[1]], len(instructions)))
                instructions.append(Instruction(op, operands.strip(), predicate == "!PT"))
        yield name, Code(instructions, loops)


@dataclass(frozen=True)
class Limits:
    """What a multiprocessor has; each block takes 1 KiB of shared memory beside its own."""

    shared: int  # KiB
    shared_of_block: int  # KiB
    warps: int
    blocks: int


# CUDA C++ Programming Guide, "Compute Capabilities", the table of technical specifications.
LIMITS = {
    "sm_80": Limits(164, 163, 64, 32),
    "sm_86": Limits(100, 99, 48, 16),
    "sm_89": Limits(100, 99, 48, 24),
    "sm_90a": Limits(228, 227, 64, 32),
}


def blocks_together(usage: Usage, arch: str, threads: int, shared: int) -> int:
    """Blocks that fit a multiprocessor at a time; a quarter of it has 16384 registers, given to warps by 256."""
    limits, warps = LIMITS[arch], threads // 32
    if shared + usage.shared > limits.shared_of_block << 10:
        return 0
    registers = -(-usage.registers * 32 // 256) * 256
    taken = -(-(shared + usage.shared + 1024) // 128) * 128
    return min(16384 // registers * 4 // warps, (limits.shared << 10) // taken, limits.warps // warps, limits.blocks)
