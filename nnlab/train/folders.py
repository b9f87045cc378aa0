"""Run folders: new ones, the one to resume, and the weights in them."""

from __future__ import annotations

import itertools
from pathlib import Path

from nnlab.errors import ArgumentError, CheckpointError
from nnlab.train import checkpoint as files
from nnlab.train.config import RunConfig
from nnlab.train.settings import FILE

RUNS = Path("runs")


def new_folder(config: RunConfig, out: Path | None) -> Path:
    """The folder of a new run: ``out``, else ``runs/<config.run_name()>`` with the first free number.

    Raises:
        ArgumentError: ``out`` already holds something.
    """
    if out is not None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            hint = "; --resume continues it" if (out / FILE).exists() else ""
            raise ArgumentError(f"[train] 'out' must be a new or empty folder, {out} holds something{hint}")
        return out
    name = config.run_name()
    return next(
        folder
        for number in itertools.count(1)
        if not (folder := RUNS / (name if number == 1 else f"{name}-{number}")).exists()
    )


def find_run(kind: type[RunConfig], out: Path | None) -> Path:
    """The run folder to resume: ``out``, else the one in ``runs/`` that was written to last.

    Args:
        kind: of the configuration that the run has.

    Raises:
        CheckpointError: there is none.
    """
    if out is not None:
        return out
    found = [path.parent for path in RUNS.glob(f"*/{FILE}") if kind.owns(path.parent)]
    if not found:
        raise CheckpointError(f"[checkpoint] there is no run in {RUNS}/ to resume; name one with --out")
    return max(found, key=lambda folder: max(path.stat().st_mtime for path in [folder, *folder.iterdir()]))


def find_weights(path: Path) -> tuple[Path, str]:
    """A run folder and the name of a checkpoint in it.

    Args:
        path: a run folder (its ``best`` weights, or ``last`` if there is no ``best`` yet), or ``RUN/best`` or
            ``RUN/last`` for one of them.

    Raises:
        CheckpointError: there is no such folder.
    """
    folder, which = (path.parent, path.name) if path.name in ("best", "last", "previous") else (path, None)
    if not folder.is_dir():
        raise CheckpointError(f"[checkpoint] there is no run folder {folder}")
    return folder, which or ("best" if files.exists(folder / "best") else "last")
