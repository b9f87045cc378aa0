"""Array code that runs on both devices uses only what CuPy has: names, and keyword arguments, are looked up there.

This needs CuPy but no GPU. It finds calls that work with NumPy alone before a GPU does.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).resolve().parent.parent.parent / "nnlab"
FILES = sorted([*PACKAGE.glob("ops/_*/*.py"), *PACKAGE.glob("autograd/*.py"), PACKAGE / "random.py"])
UFUNC_KEYWORDS = {"out", "dtype", "casting"}


@pytest.fixture(scope="module")
def cupy(cupy_installed: None) -> Any:
    return importlib.import_module("cupy")


def _chain(node: ast.expr) -> list[str] | None:
    """``be.xp.add.reduce`` as ``["add", "reduce"]``; None for what is not an attribute of ``xp``."""
    names: list[str] = []
    while isinstance(node, ast.Attribute) and node.attr != "xp":
        names.insert(0, node.attr)
        node = node.value
    rooted = isinstance(node, ast.Attribute) or (isinstance(node, ast.Name) and node.id == "xp")
    return names if rooted and names else None


def _missing(cupy: Any, chain: list[str]) -> bool:
    value = cupy
    for name in chain:
        if not hasattr(value, name):
            return True
        value = getattr(value, name)
    return False


def _bad_call(cupy: Any, chain: list[str], call: ast.Call) -> str | None:
    """Why CuPy's function refuses this call's arguments, as far as that can be told without running it."""
    target = cupy
    for name in chain:
        target = getattr(target, name)
    keywords = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
    starred = any(isinstance(argument, ast.Starred) for argument in call.args)
    if isinstance(target, cupy.ufunc):
        return f"ufunc without {sorted(keywords - UFUNC_KEYWORDS)}" if keywords - UFUNC_KEYWORDS else None
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind_partial(*([None] * (0 if starred else len(call.args))), **dict.fromkeys(keywords))
    except TypeError as error:
        return str(error)
    return None


def complaints(cupy: Any, source: str) -> Iterator[str]:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (chain := _chain(node)) and _missing(cupy, chain):
            yield f"line {node.lineno}: CuPy has no {'.'.join(chain)}"
        if isinstance(node, ast.Call) and (chain := _chain(node.func)) and not _missing(cupy, chain):
            if chain[-1] == "at":
                yield f"line {node.lineno}: {'.'.join(chain)} adds in no fixed order on a GPU"
            if (why := _bad_call(cupy, chain, node)) is not None:
                yield f"line {node.lineno}: cupy.{'.'.join(chain)}: {why}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_array_code_exists_in_cupy(cupy: Any, path: Path) -> None:
    assert list(complaints(cupy, path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("be.xp.not_a_function(x)", "CuPy has no not_a_function"),
        ("xp.add.not_a_method(x)", "CuPy has no add.not_a_method"),
        ("xp.add(x, y, where=m)", "ufunc without ['where']"),
        ("xp.add.at(x, i, y)", "adds in no fixed order"),
        ("xp.concatenate(x, nothing=1)", "unexpected keyword"),
    ],
)
def test_the_check_finds(cupy: Any, line: str, expected: str) -> None:
    assert any(expected in found for found in complaints(cupy, line))


@pytest.mark.parametrize(
    "line", ["be.xp.add(x, y, out=z)", "xp.linalg.norm(x, axis=1)", "np.add(x, y, where=m)", "xp.float32"]
)
def test_the_check_allows(cupy: Any, line: str) -> None:
    assert list(complaints(cupy, line)) == []
