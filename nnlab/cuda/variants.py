"""Which builds of the kernels there are: every kernel for each dtype, index width and value of its own macros."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from nnlab.cuda.launch import Kernel, Launch, dtype_macros

INDEX_BITS = (32, 64)


@dataclass(frozen=True)
class Variant:
    """One build of a kernel.

    Args:
        kernel: its name.
        dtype: of the data.
        index_bits: 32 or 64.
        macros: the kernel's own, name and value.
    """

    kernel: str
    dtype: str
    index_bits: int
    macros: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        return " ".join([self.kernel, self.dtype, str(self.index_bits), *(f"{name}={n}" for name, n in self.macros)])


def own_macros(kernel: Kernel) -> Iterator[dict[str, int]]:
    """Every choice of values for a kernel's own macros, the defaults first; one empty choice if it has none."""
    for values in product(*kernel.variants.values()):
        yield dict(zip(kernel.variants, values, strict=True))


def variants(kernel: Kernel) -> Iterator[Variant]:
    """Every build of a kernel that a launch can ask for."""
    for dtype, bits, own in product(kernel.dtypes, INDEX_BITS, own_macros(kernel)):
        yield Variant(kernel.name, dtype, bits, tuple(own.items()))


def launched(kernel: Kernel, ready: Launch) -> Variant:
    """The build that a checked launch runs."""
    bits = int(ready.macros["INDEX_BITS"])
    dtype = next(name for name in kernel.dtypes if dtype_macros(name, bits).items() <= ready.macros.items())
    return Variant(kernel.name, dtype, bits, tuple((name, int(ready.macros[name])) for name in kernel.variants))
