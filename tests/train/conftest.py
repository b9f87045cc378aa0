"""Makes ``tiny.py`` importable, and runs the uninterrupted run once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a run that nothing happened to."""
    from tiny import make_trainer

    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    make_trainer(folder).fit()
    return folder
