"""``python -m nnlab.cli``."""

from __future__ import annotations

from nnlab.cli import main

main()
