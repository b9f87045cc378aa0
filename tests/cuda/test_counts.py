"""What the kernels ask of memory, counted on the case ``standard`` of each operation, gets no worse unseen.

tests/cuda/counts.json holds the figures in float32 with 32-bit indices; ``make counts`` writes it anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from nnlab.backend import checked
from nnlab.cuda import sources
from nnlab.ops import _cuda
from tests import emulator
from tests.cuda import case
from tests.cuda.checked_report import BETTER

BE = emulator.backend()
if checked.why_unusable() is not None:
    pytest.skip(str(checked.why_unusable()), allow_module_level=True)
FILE = Path(__file__).with_name("counts.json")
FIGURES = ("global_accesses", "sectors", "shared_accesses", "wavefronts")  # the fewer, the better


def counted(op: str) -> dict[str, dict[str, int]]:
    """Figures of an operation's kernels; ideal sectors and wavefronts stand beside the actual ones."""
    with BE.checked(counting=True) as report:
        case.run(BE, op, "standard", "float32", 32, {}, orders=("ascending",))
    mine = {kernel.name for kernel in _cuda.kernels() if kernel.unit == op}
    missing = sorted(mine - set(report.kernels))
    assert not missing, f"the case 'standard' of tests/cuda/cases/{op}.py does not launch {', '.join(missing)}"
    names = (
        "launches",
        "global_accesses",
        "sectors",
        "ideal_sectors",
        "shared_accesses",
        "wavefronts",
        "ideal_wavefronts",
    )
    return {
        name: {k: v for k, v in asdict(counts).items() if k in names}
        for name, counts in report.kernels.items()
        if name in mine
    }


def compared(kernel: str, found: dict[str, int], kept: dict[str, int] | None) -> list[str]:
    """What has become better; fails if anything has become worse.

    Raises:
        AssertionError: a figure is larger than the kept one, or there is none.
    """
    assert kept is not None, f"{FILE.name} has no figures of {kernel}: {found}; `make counts` writes them"
    worse = [f"{name} {kept[name]} -> {found[name]}" for name in FIGURES if found[name] > kept[name]]
    assert not worse, f"{kernel}: {', '.join(worse)}; if that is meant, `make counts` writes {FILE.name} anew"
    return [f"{kernel}: {name} {kept[name]} -> {found[name]}" for name in FIGURES if found[name] < kept[name]]


@pytest.mark.parametrize("op", sources.units())
def test_no_worse(op: str, record_property: Callable[[str, object], None], request: pytest.FixtureRequest) -> None:
    assert "standard" in case.cases(op), f"tests/cuda/cases/{op}.py has no case 'standard', whose accesses are counted"
    found = counted(op)
    kept = json.loads(FILE.read_text())
    if request.config.getoption("--update-counts"):
        there_are = {kernel.name for kernel in _cuda.kernels()}
        figures = {kernel: values for kernel, values in sorted((kept | found).items()) if kernel in there_are}
        FILE.write_text(json.dumps(figures, indent=1) + "\n")
    else:
        better = [line for kernel, figures in found.items() for line in compared(kernel, figures, kept.get(kernel))]
        record_property(BETTER, better)


def test_figures_of_kernels_that_there_are() -> None:
    assert set(json.loads(FILE.read_text())) == {kernel.name for kernel in _cuda.kernels()}


def test_worse_fails_and_better_is_said() -> None:
    kept = {"global_accesses": 10, "sectors": 5, "shared_accesses": 0, "wavefronts": 0}
    assert compared("k", dict(kept), kept) == []
    assert compared("k", {**kept, "sectors": 4}, kept) == ["k: sectors 5 -> 4"]
    with pytest.raises(AssertionError, match=r"k: sectors 5 -> 6; if that is meant, `make counts`"):
        compared("k", {**kept, "sectors": 6, "global_accesses": 1}, kept)
    with pytest.raises(AssertionError, match=r"counts.json has no figures of k"):
        compared("k", kept, None)
