"""README.md is true: its Python runs, its commands and flags exist, its files are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from nnlab.cli.app import app

TEXT = (Path(__file__).parent.parent / "README.md").read_text()
COMMANDS = re.findall(r"^    nnlab (.*?)(?:   .*)?$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
def test_python_runs(code):
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_and_flags_exist(line):
    group = get_command(app)
    name, *words = line.split()
    command = group.commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    for word in words:
        assert not word.startswith("--") or word in known, f"nnlab {name} has no {word}"


def test_there_are_examples():
    assert len(COMMANDS) >= 5
    assert "```python" in TEXT


@pytest.mark.parametrize("path", re.findall(r"(?:docs|benchmarks|examples)/[\w/.-]+\w|\b[A-Z]+\.md", TEXT))
def test_named_files_exist(root, path):
    assert (root / path).exists()
