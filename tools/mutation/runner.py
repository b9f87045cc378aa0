"""Run the cases of a kernel on a mutant of its sources, in a process of its own.

Everything is imported before; a mutant costs a fork, a compilation and the cases up to the first that fails. The first
build is made with little optimisation, in a third of the time, and run under two orders of threads: most mutants get no
further. What survives it runs all builds as the tests make them, but for those whose machine code the change leaves
alone.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnlab.backend import checked
from nnlab.backend.emulated import KernelError
from nnlab.cuda import host, launch, sources
from nnlab.cuda.compiler import CompileError
from nnlab.cuda.variants import own_macros
from nnlab.errors import NNLabError
from nnlab.ops import _cuda
from tests import emulator
from tests.cuda import case, far
from tools.mutation.operators import Mutant
from tools.mutation.results import NOT_COMPILED, SAME_CODE, SURVIVED

KERNELS = sources.folder()
SECONDS = 3  # of processor time that a case may take beyond a multiple of the usual
_usual: dict[tuple[str, str], float] = {}  # the time of a case, with little optimisation
# The builds that are tried, the quickest to fail first. The tests run every dtype with both widths of indices, so they
# may notice a mutant that these do not.
BUILDS = [("float32", 64), (far.DTYPE, 64), ("float64", 32), ("float32", 32), ("bfloat16", 32)]


@dataclass(frozen=True)
class Step:
    """The cases of one operation on one build."""

    op: str
    dtype: str
    bits: int
    macros: dict[str, int]

    def builds(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The kernel files and the macros that they are compiled with: those of this step, then the others."""
        seen: set[tuple[str, str]] = set()
        every = [(kernel, own) for kernel in _cuda.kernels(self.op) for own in own_macros(kernel)]
        for kernel, own in sorted(every, key=lambda one: not one[1].items() <= self.macros.items()):
            macros = launch.dtype_macros(self.dtype, self.bits) | own
            if (kernel.unit, str(macros)) not in seen:
                seen.add((kernel.unit, str(macros)))
                yield kernel.unit, macros


def steps(file: str) -> list[Step]:
    """What is run for a kernel file, or for everything that includes a header."""
    using = [op for op in sources.units() if any(uses(kernel.unit, file) for kernel in _cuda.kernels(op))]
    return [
        Step(op, dtype, bits, macros)
        for dtype, bits in BUILDS
        for op in sorted(using, key=cost)
        if dtype in case.dtypes(op)
        for macros in case.macro_choices(op)
    ]


def quick_steps(file: str) -> list[Step]:
    """The first build of each operation, the quickest to fail."""
    first: dict[str, Step] = {}
    for step in steps(file):
        first.setdefault(step.op, step)
    return list(first.values())


@contextmanager
def quickly_compiled() -> Iterator[None]:
    """Kernels are compiled with little optimisation, the runtime as always. With none they run four times as long."""
    flags, runtime = host.FLAGS, host.runtime
    runtimes = {checked: runtime(checked) for checked in (False, True)[: 1 + _can_check()]}
    host.runtime = lambda checked=False: runtimes[checked]
    host.FLAGS = tuple("-O1" if flag == "-O2" else flag for flag in flags)
    launch._image.cache_clear()
    try:
        yield
    finally:
        host.FLAGS, host.runtime = flags, runtime
        launch._image.cache_clear()


def _can_check() -> bool:
    return checked.why_unusable() is None


def uses(unit: str, file: str) -> bool:
    return f'#line 1 "{file}"' in sources.source(unit, KERNELS)


def cost(op: str) -> int:
    """Operations with short sources compile and run first."""
    return (KERNELS / f"{op}.cu").stat().st_size


def run_step(step: Step, slack: float = 5, orders: tuple[Any, ...] = case.ORDERS) -> None:
    """Compare all cases, the quickest first; one that takes ``slack`` times as long as usual ends the process."""
    be, wide = emulator.backend(), (step.dtype, step.bits) == (far.DTYPE, 64)
    for name in sorted(case.cases(step.op), key=lambda name: _usual.get((step.op, name), 0)):
        _limit(step.op, name, slack)
        case.run(be, step.op, name, step.dtype, step.bits, step.macros, orders)
    for name in far.cases(step.op) if wide else ():
        _limit(step.op, name, slack)
        far.run(step.op, name)


def _limit(op: str, name: str, slack: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, SECONDS + slack * _usual.get((op, name), 0))


def run_checked(file: str) -> None:
    """The cases once more, for one dtype, with each access of memory looked at (``make race``)."""
    if _can_check():
        with emulator.backend().checked():
            for step in steps(file):
                if (step.dtype, step.bits) == ("float32", 32):
                    run_step(step, slack=200)


def try_unchanged(op: str) -> None:
    """The cases must pass on the unchanged files; how long each takes is kept."""
    be, dtype = emulator.backend(), case.dtypes(op)[0]
    for name in case.cases(op):
        start = time.process_time()
        case.run(be, op, name, dtype, 64, case.macro_choices(op)[0])
        _usual[op, name] = time.process_time() - start


def compiled(unit: str, macros: dict[str, Any], root: Path, cache: Path) -> Path:
    """The library of a build of the sources in a folder; what is compiled stays in another folder."""
    os.environ["NNLAB_CACHE_DIR"] = str(cache)
    return host.compile_unit(unit, macros=macros, root=root)


def verdict(mutant: Mutant, originals: Path, work: Path) -> str:
    """Run the cases on a mutant until one fails; by what it was noticed, or one of the constants above.

    Args:
        originals: cache of the unchanged builds, for all mutants.
        work: folder of this mutant's own.
    """
    root = Path(shutil.copytree(KERNELS, work / "kernels"))
    (root / mutant.file).write_text(mutant.apply((root / mutant.file).read_text()))
    sources.folder = lambda: root  # type: ignore[assignment]
    launch._image.cache_clear()
    os.environ["NNLAB_CACHE_DIR"] = str(work)
    changed = False
    try:
        with quickly_compiled():
            for step in quick_steps(mutant.file):
                run_step(step, orders=case.ORDERS[:2])
        for step in steps(mutant.file):
            if any(
                compiled(*build, root, work).read_bytes() != compiled(*build, KERNELS, originals).read_bytes()
                for build in step.builds()
            ):
                changed = True
                os.environ["NNLAB_CACHE_DIR"] = str(work)
                run_step(step)
        try:
            if changed:
                run_checked(mutant.file)
        except KernelError:
            return "checker"
    except CompileError:
        return NOT_COMPILED
    except case.ScheduleError:
        return "order of threads"
    except AssertionError:
        return "oracle"
    except KernelError as error:
        return "red zone" if " wrote " in str(error) else "barrier"
    except NNLabError:
        return "launch gate"
    return SURVIVED if changed else SAME_CODE


class Workers:
    """Children, one a mutant, at most ``count`` at a time."""

    def __init__(self, count: int, cache: Path) -> None:
        self.count, self.cache = count, cache
        self._running: dict[int, tuple[Mutant, int, Path]] = {}
        self._runtimes: list[Path] = []

    def run(self, mutants: list[Mutant]) -> Iterator[tuple[Mutant, str]]:
        """Each mutant with its verdict, as they come. The cases must pass on the unchanged files, or none is run."""
        files = {mutant.file for mutant in mutants}
        with quickly_compiled():
            for op in sorted({step.op for file in files for step in steps(file)}):
                try_unchanged(op)
        # The same for all mutants: their paths are part of what is compiled.
        self._runtimes = [host.runtime(), *([host.runtime(checked=True)] if _can_check() else [])]
        for mutant in mutants:
            if len(self._running) == self.count:
                yield self._wait()
            self._start(mutant)
        while self._running:
            yield self._wait()

    def _start(self, mutant: Mutant) -> None:
        sys.stdout.flush()
        work = Path(tempfile.mkdtemp(prefix="nnlab-mutant-"))
        reader, writer = os.pipe()
        child = os.fork()
        if child:
            os.close(writer)
            self._running[child] = (mutant, reader, work)
            return
        try:  # in the child
            os.close(reader)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            host.runtime = lambda checked=False: self._runtimes[checked]
            try:
                answer = verdict(mutant, self.cache, work)
            except Exception as error:
                answer = f"error ({type(error).__name__})"
            os.write(writer, answer.encode())
        finally:
            os._exit(0)

    def _wait(self) -> tuple[Mutant, str]:
        child, status = os.wait()
        mutant, reader, work = self._running.pop(child)
        answer = os.read(reader, 4096).decode()
        os.close(reader)
        shutil.rmtree(work, ignore_errors=True)
        if os.WIFSIGNALED(status):
            answer = "timeout" if os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGXCPU) else "crash"
        return mutant, answer
