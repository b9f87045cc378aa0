"""Makes ``tiny.py`` importable, and runs the uninterrupted run of each kind once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", params=["images", "text"])
def kind(request: pytest.FixtureRequest) -> str:
    """What ``tiny.py`` trains."""
    return request.param


@pytest.fixture(scope="session")
def uninterrupted(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a run that nothing happened to."""
    from tiny import make_trainer

    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    make_trainer(folder, kind=kind).fit()
    return folder
