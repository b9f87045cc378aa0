"""From a ``.cu`` file to a running kernel: sources, compiler, launch gate."""

from __future__ import annotations
