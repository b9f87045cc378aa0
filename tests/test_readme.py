"""README.md and the pages for users are true: their Python runs, commands, flags and files exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from nnlab.cli.app import app

PAGES = ("README.md", "docs/language_models.md")
TEXT = "\n".join((Path(__file__).parent.parent / page).read_text() for page in PAGES)
COMMANDS = re.findall(r"^    nnlab (.*?)(?:   .*)?$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
def test_python_runs(code):
    exec(compile(code, "page", "exec"), {})


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_and_flags_exist(line):
    command, words = get_command(app), line.split()
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    for word in words:
        assert not word.startswith("--") or word in known, f"nnlab {command.name} has no {word}"


def test_there_are_examples():
    assert len(COMMANDS) >= 5
    assert "```python" in TEXT


@pytest.mark.parametrize("path", re.findall(r"(?:docs|benchmarks|examples)/[\w/.-]+\w|\b[A-Z]+\.md", TEXT))
def test_named_files_exist(root, path):
    assert (root / path).exists()
