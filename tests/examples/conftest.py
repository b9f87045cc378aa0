"""Examples are run as scripts are, in their own folder's company."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[[str], dict[str, Any]]


@pytest.fixture
def example(root: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``examples/<name>.py`` and returns its names; ``["main"](["--out", folder])`` is what a user starts."""
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(root / "examples")
    return lambda name: runpy.run_path(str(root / "examples" / f"{name}.py"))
