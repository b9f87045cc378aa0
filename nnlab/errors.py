"""Every error that nnlab raises on purpose, and the one way to word them.

All derive from :class:`NNLabError`, which the command line prints as one line without a trace-back. Each also derives
from the built-in exception that a PyTorch or NumPy user would catch.

Messages read ``[Conv2d] 'stride' must be positive, got (0, 1)``: who, which argument, what it must be, what it was.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class NNLabError(Exception):
    """Base of all errors raised by nnlab."""


class ArgumentError(NNLabError, ValueError):
    """An argument has an impossible value."""


class ShapeError(NNLabError, ValueError):
    """Array shapes do not fit the operation."""


class DtypeError(NNLabError, TypeError):
    """An array has a dtype that the operation does not take."""


class DeviceError(NNLabError, RuntimeError):
    """A device is unknown, unusable, or two devices are mixed."""


class GraphError(NNLabError, RuntimeError):
    """The autograd graph cannot do what was asked (freed, modified in place, not differentiable)."""


class CaptureError(NNLabError, RuntimeError):
    """A step cannot be recorded as a graph of launches; the message says what in it cannot."""


class DataError(NNLabError, ValueError):
    """A data file or folder is missing, truncated or not what it should be."""


class WorkerError(NNLabError, RuntimeError):
    """A worker process died or did not answer in time."""


class CheckpointError(NNLabError, RuntimeError):
    """A checkpoint is missing, damaged, or does not fit the model."""


class NonFiniteError(NNLabError, ArithmeticError):
    """Training produced NaN or infinity."""


class OutOfMemoryError(NNLabError, MemoryError):
    """An allocation failed; the message names the operation and the bytes asked for."""


class MissingExtraError(NNLabError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


def complaint(where: str, argument: str, must: str, got: object) -> str:
    """The one wording of a bad argument: ``[where] 'argument' must <must>, got <got>``."""
    return f"[{where}] '{argument}' must {must}, got {got!r}"


def optional_import(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    Args:
        module: dotted module name, e.g. ``"PIL.Image"``.
        extra: the extra of nnlab that installs it, e.g. ``"vision"``.
        purpose: what it is needed for, e.g. ``"reading JPEG files"``.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise MissingExtraError(
            f"{purpose} needs the package {package!r}; install it with: pip install 'nnlab[{extra}]' ({error})"
        ) from error
