"""The command line: ``nnlab train | eval | predict | summary | doctor``."""

from __future__ import annotations


def main() -> None:
    """Entry point of the ``nnlab`` command."""
    from nnlab.cli.app import app

    app(prog_name="nnlab")
