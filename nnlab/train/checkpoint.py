"""Checkpoints that survive a kill at any moment.

A checkpoint is a folder:

    weights.safetensors     the model's state_dict under its plain names
    optimizer.safetensors   the optimizer's arrays (absent in ``best``)
    carried.safetensors     what the model carries from batch to batch, if anything (nnlab/train/carried.py)
    state.json              everything else, the format's number, and length and SHA-256 of the other files

Saving writes ``<name>.tmp`` beside it, syncs every file, lets ``state.json`` appear last, and swaps by renaming:

    <name>.tmp written   ->   <name> becomes the old one   ->   <name>.tmp becomes <name>

So at any moment either ``<name>`` is there and whole, or it is missing and ``<name>.tmp`` has its ``state.json`` and is
whole (or nothing was ever saved). Reading and saving both begin with that rule.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnlab import types
from nnlab.autograd import Tensor
from nnlab.errors import CheckpointError
from nnlab.nn import Module

FORMAT = 1
WEIGHTS, OPTIMIZER, CARRIED = "weights.safetensors", "optimizer.safetensors", "carried.safetensors"
STATE = "state.json"
_TENSOR, _PAIRS = "$tensor", "$pairs"


@dataclass
class Checkpoint:
    """A checkpoint as read and verified.

    Attributes:
        folder: where it was found.
        weights: arrays by parameter or buffer name.
        optimizer: the optimizer's state_dict, None if the checkpoint has none.
        carried: what the model carries from batch to batch, by dotted path.
        state: the rest, as it was given to :func:`save_checkpoint`.
    """

    folder: Path
    weights: dict[str, np.ndarray]
    optimizer: dict[str, Any] | None
    carried: dict[str, np.ndarray]
    state: dict[str, Any]


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(state: Mapping[str, Any]) -> str:
    text = json.dumps({k: v for k, v in state.items() if k != "sha256"}, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _split(tree: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """Take the tensors out of a nested state, leaving a note where each was; the rest is JSON."""
    if isinstance(tree, Tensor):
        tree = tree.detach().cpu().numpy()
    if isinstance(tree, np.ndarray):
        arrays[path] = np.ascontiguousarray(tree).reshape(tree.shape)
        return {_TENSOR: path}
    if isinstance(tree, np.generic):
        return tree.item()
    if isinstance(tree, Mapping):
        if all(isinstance(k, str) for k in tree):
            return {k: _split(v, f"{path}.{k}" if path else k, arrays) for k, v in tree.items()}
        return {_PAIRS: [[k, _split(v, f"{path}.{k}" if path else str(k), arrays)] for k, v in tree.items()]}
    if isinstance(tree, list | tuple):
        return [_split(v, f"{path}.{i}", arrays) for i, v in enumerate(tree)]
    return tree


def _join(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The inverse of :func:`_split` (tuples come back as lists, tensors as NumPy arrays)."""
    if isinstance(tree, dict):
        if _TENSOR in tree:
            return arrays[tree[_TENSOR]]
        if _PAIRS in tree:
            return {k: _join(v, arrays) for k, v in tree[_PAIRS]}
        return {k: _join(v, arrays) for k, v in tree.items()}
    if isinstance(tree, list):
        return [_join(v, arrays) for v in tree]
    return tree


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(folder.name + suffix)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _current(folder: Path) -> Path:
    """Where the whole checkpoint lies: ``folder``, or its ``.tmp`` if a kill came between the two renames."""
    return folder if folder.exists() or not (_beside(folder, ".tmp") / STATE).exists() else _beside(folder, ".tmp")


def exists(folder: Path) -> bool:
    """Whether there is a checkpoint of this name (not whether it is undamaged)."""
    return (_current(folder) / STATE).exists()


def save_checkpoint(
    folder: Path,
    *,
    weights: Mapping[str, Any],
    optimizer: Mapping[str, Any] | None = None,
    carried: Mapping[str, Any] | None = None,
    state: Mapping[str, Any],
    previous: Path | None = None,
) -> None:
    """Save so that a kill at any moment leaves a whole checkpoint, the old or the new one.

    Args:
        folder: the checkpoint's folder, replaced if it exists.
        weights: Tensors or NumPy arrays by name.
        optimizer: a nested state_dict of Tensors, arrays and JSON values.
        carried: Tensors or NumPy arrays by name.
        state: JSON values, finite numbers only.
        previous: where to keep the checkpoint that was at ``folder`` before; None: it is deleted.

    Raises:
        CheckpointError: the disk refused; what was saved before is still there.
    """
    import safetensors.numpy  # a machine that only tests kernels lacks it

    new, old = _beside(folder, ".tmp"), previous if previous is not None else _beside(folder, ".old")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if _current(folder) == new:
            os.rename(new, folder)
        _remove(new)
        new.mkdir()
        content: dict[str, Any] = {"format": FORMAT, **state}
        names = []
        for name, tree in ((WEIGHTS, dict(weights)), (OPTIMIZER, optimizer), (CARRIED, carried or None)):
            if tree is not None:
                arrays: dict[str, np.ndarray] = {}
                kept = _split(tree, "", arrays)
                safetensors.numpy.save_file(arrays, new / name)
                names.append(name)
                if name == OPTIMIZER:
                    content["optimizer"] = kept
        for name in names:
            _sync(new / name)
        content["files"] = {
            name: {"bytes": (new / name).stat().st_size, "sha256": _digest(new / name)} for name in names
        }
        content["sha256"] = _seal(content)
        part = new / (STATE + ".part")
        with part.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        os.rename(part, new / STATE)
        _sync(new)
        _remove(old)
        if folder.exists():
            os.rename(folder, old)
        os.rename(new, folder)
        _sync(folder.parent)
        if previous is None:
            _remove(old)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"[checkpoint] cannot save {folder}: {error}; the checkpoint before it is kept"
        ) from error


def _read_state(folder: Path) -> dict[str, Any]:
    path = folder / STATE
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"[checkpoint] no checkpoint at {folder}: {error.strerror or error}") from error
    except ValueError as error:
        raise CheckpointError(f"[checkpoint] {path} is damaged: not JSON ({error})") from error
    if not isinstance(state, dict) or "format" not in state or "files" not in state:
        raise CheckpointError(f"[checkpoint] {path} is not a checkpoint's state: 'format' or 'files' is missing")
    if state["format"] != FORMAT:
        raise CheckpointError(f"[checkpoint] {path} has format {state['format']}, this nnlab reads format {FORMAT}")
    if state.get("sha256") != _seal(state):
        raise CheckpointError(f"[checkpoint] {path} is damaged: its checksum differs from its content")
    return state


def _read_arrays(path: Path, recorded: Mapping[str, Any]) -> dict[str, np.ndarray]:
    import safetensors.numpy

    if not path.exists():
        raise CheckpointError(f"[checkpoint] {path} is missing")
    size = path.stat().st_size
    if size != recorded["bytes"]:
        raise CheckpointError(f"[checkpoint] {path} is damaged: {size} bytes, {recorded['bytes']} were written")
    if _digest(path) != recorded["sha256"]:
        raise CheckpointError(f"[checkpoint] {path} is damaged: its SHA-256 differs from the one recorded at saving")
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        if any(entry.get("dtype") == "BF16" for entry in header.values()):
            types.as_dtype("bfloat16")  # load_file finds it where it has been loaded
        return dict(safetensors.numpy.load_file(path))
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"[checkpoint] {path} cannot be read: {error}") from error


def read_checkpoint(folder: Path, *, optimizer: bool = True) -> Checkpoint:
    """Read and verify a checkpoint.

    Args:
        folder: the checkpoint's folder.
        optimizer: False leaves the optimizer's arrays unread.

    Raises:
        CheckpointError: missing or damaged; the message names the file and says what is wrong.
    """
    found = _current(folder)
    state = _read_state(found)
    files, tree = state.pop("files"), state.pop("optimizer", None)
    weights = _read_arrays(found / WEIGHTS, files[WEIGHTS])
    restored = None
    if optimizer and tree is not None:
        restored = _join(tree, _read_arrays(found / OPTIMIZER, files[OPTIMIZER]))
    carried = _read_arrays(found / CARRIED, files[CARRIED]) if CARRIED in files else {}
    rest = {k: v for k, v in state.items() if k not in ("format", "sha256")}
    return Checkpoint(found, weights, restored, carried, rest)


def load_weights(model: Module, checkpoint: Checkpoint) -> None:
    """Copy a checkpoint's weights into a model.

    Raises:
        CheckpointError: names or shapes differ; the message names the file and lists them.
    """
    try:
        model.load_state_dict(checkpoint.weights)
    except CheckpointError as error:
        reason = str(error).replace("\n ", "")
        raise CheckpointError(f"[checkpoint] {checkpoint.folder / WEIGHTS} is of another model: {reason}") from error
