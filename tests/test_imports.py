"""Imports: downward only, optional packages never at import time, CuPy in one file, and `import nnlab` is quick."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "nnlab"

# From the bottom up (docs/architecture.md). Rooms of one line may not import each other. "nnlab" is the package's own
# __init__.py: it hands out what the rooms before it define and loads the later ones on first use.
ROOMS = [
    ["errors"],
    ["cache", "figures"],
    ["types"],
    ["geometry"],
    ["precision"],
    ["backend"],
    ["random"],
    ["cuda"],
    ["ops"],
    ["autograd"],
    ["nnlab"],
    ["nn"],
    ["optim", "data", "models"],
    ["amp"],
    ["train"],
    ["classic", "text"],
    ["testing"],
    ["bench"],
    ["cli"],
]
RANK = {room: rank for rank, row in enumerate(ROOMS) for room in row}
CORE = {"numpy", "safetensors", "rich", "typer", "threadpoolctl"}
CUPY_FILE = Path("backend/cuda.py")
# The lazy table of the package: `nnlab.nn` and the like are loaded on attribute access.
LAZY = {Path("__init__.py")}


class Import(NamedTuple):
    file: Path  # relative to the package
    line: int
    module: str  # absolute dotted name
    at_import_time: bool

    def __str__(self) -> str:
        return f"nnlab/{self.file}:{self.line} imports {self.module}"


def _walk(node: ast.AST, at_import_time: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        type_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        inside = at_import_time and not type_only and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        yield child, inside
        yield from _walk(child, inside)


def _imports(source: str, file: Path) -> Iterator[Import]:
    package = ["nnlab", *file.parent.parts]
    for node, early in _walk(ast.parse(source), True):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, early)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{module}.{alias.name}"
                inside = PACKAGE.parent.joinpath(*name.split("."))
                submodule = inside.is_dir() or inside.with_suffix(".py").is_file()
                yield Import(file, node.lineno, name if submodule else module, early)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
            "import_module",
            "optional_import",
        ):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield Import(file, node.lineno, first.value, early)


def _all_imports() -> list[Import]:
    files = sorted(PACKAGE.rglob("*.py"))
    assert files
    found = []
    for path in files:
        found += _imports(path.read_text(encoding="utf-8"), path.relative_to(PACKAGE))
    return found


def _room(file: Path) -> str:
    first = file.parts[0]
    return "nnlab" if first == "__init__.py" else first.removesuffix(".py")


def _upward(found: list[Import]) -> list[str]:
    wrong = []
    for entry in found:
        parts = entry.module.split(".")
        if parts[0] != "nnlab" or (entry.file in LAZY and not entry.at_import_time):
            continue
        here, there = _room(entry.file), parts[1] if len(parts) > 1 else "nnlab"
        if here not in RANK or there not in RANK:
            wrong.append(f"{entry}: a room that docs/architecture.md and this test do not know")
        elif there != here and RANK[there] >= RANK[here]:
            wrong.append(f"{entry}: {here!r} lies below {there!r} or beside it")
    return wrong


def test_imports_go_downward() -> None:
    assert _upward(_all_imports()) == []


def test_every_room_is_documented_in_this_order() -> None:
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    for room in PACKAGE.iterdir():
        if room.suffix == ".py" or (room / "__init__.py").is_file():
            assert _room(Path(room.name)) in RANK
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    table = " ".join(rows).replace("nnlab/", "")
    order = [re.search(rf"`{row[0]}(/|\.py)`", table) for row in ROOMS if row != ["nnlab"]]
    positions = [found.start() if found else -1 for found in order]
    assert -1 not in positions
    assert positions == sorted(positions)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("ops/conv.py", "from nnlab.autograd import Tensor"),
        ("ops/conv.py", "def f():\n    from nnlab import autograd"),
        ("ops/conv.py", "from ..nn import Linear"),
        ("ops/conv.py", "import nnlab"),
        ("optim/sgd.py", "from nnlab.data import Dataset"),
        ("errors.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import nnlab.types"),
        ("__init__.py", "from nnlab import nn"),
        ("newroom/x.py", "import nnlab.errors"),
    ],
)
def test_the_rule_finds(file: str, source: str) -> None:
    assert _upward(list(_imports(source, Path(file))))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("ops/_numpy/conv.py", "from nnlab.ops import body"),
        ("ops/_numpy/conv.py", "from ..conv import forward"),
        ("nn/conv.py", "import nnlab\nfrom nnlab.autograd import Tensor"),
        ("__init__.py", "def __getattr__(name):\n    from nnlab import nn"),
    ],
)
def test_the_rule_allows(file: str, source: str) -> None:
    assert _upward(list(_imports(source, Path(file)))) == []


def test_third_party_imports() -> None:
    """Core packages only; optional ones by ``optional_import`` inside functions; CuPy in its own file alone."""
    wrong = []
    for entry in _all_imports():
        top = entry.module.split(".")[0]
        if top == "nnlab" or top in sys.stdlib_module_names or top in CORE:
            continue
        if top in ("cupy", "cupyx", "cupy_backends"):
            if entry.file != CUPY_FILE or entry.at_import_time:
                wrong.append(f"{entry}: only functions of {CUPY_FILE} import CuPy")
        elif entry.at_import_time:
            wrong.append(f"{entry} at import time")
    assert wrong == []


def _direct_optional(node: ast.AST, asked: frozenset[str]) -> Iterator[tuple[int, str]]:
    """Imports of optional packages by a plain statement, in functions that did not ask ``optional_import`` for them."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        calls = [n for n in ast.walk(node) if isinstance(n, ast.Call) and ast.unparse(n.func) == "optional_import"]
        asked |= {call.args[0].value.split(".")[0] for call in calls if isinstance(call.args[0], ast.Constant)}
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    if isinstance(node, ast.ImportFrom) and not node.level and node.module:
        names = [node.module]
    for name in names:
        top = name.split(".")[0]
        if top not in {"nnlab", *CORE, *sys.stdlib_module_names} and top not in asked:
            yield node.lineno, name
    for child in ast.iter_child_nodes(node):
        yield from _direct_optional(child, asked)


def test_optional_packages_go_through_optional_import() -> None:
    """A plain import may follow ``optional_import`` of the same package in its function."""
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for line, name in _direct_optional(ast.parse(path.read_text(encoding="utf-8")), frozenset()):
            wrong.append(f"nnlab/{path.relative_to(PACKAGE)}:{line} imports {name} without optional_import")
    assert wrong == []


def test_import_is_quick_and_touches_nothing_optional() -> None:
    probe = (
        # Processor time: what else the machine does must not count.
        "import sys, time; t = time.process_time(); import nnlab; t = time.process_time() - t;"
        "import json; print(json.dumps([t, sorted({name.split('.')[0] for name in sys.modules})]))"
    )
    runs = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", probe],
            cwd=PACKAGE.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        runs.append(json.loads(done.stdout))
    unwanted = {"cupy", "cupyx", "matplotlib", "rich", "typer", "click", "PIL", "sklearn", "scipy", "torch", "pynvml"}
    assert unwanted.isdisjoint(runs[0][1])
    assert min(seconds for seconds, _ in runs) < 0.3
