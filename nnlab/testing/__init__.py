"""Checks for users' own operations and layers: numerical gradients and inputs that make them sound."""

from __future__ import annotations

from nnlab.testing.gradcheck import GradcheckError, gradcheck, gradgradcheck
from nnlab.testing.inputs import spaced
from nnlab.testing.tolerance import tolerance

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck", "spaced", "tolerance"]
