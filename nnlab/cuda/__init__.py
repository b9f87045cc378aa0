"""From a ``.cu`` file to a running kernel: sources, compiler, launch gate. For users: :class:`CUDAGraph`."""

from __future__ import annotations

from nnlab.cuda.graphs import CUDAGraph, graph

__all__ = ["CUDAGraph", "graph"]
