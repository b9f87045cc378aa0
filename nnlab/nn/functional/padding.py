"""Padding."""

from __future__ import annotations

from nnlab.autograd.pad import pad

__all__ = ["pad"]
