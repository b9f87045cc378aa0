"""Bodies that launch the kernels of ``kernels/<op>.cu``."""

from __future__ import annotations
