"""Writes ``golden.json`` from PyTorch: ``python -m tests.nn.golden``. Needed when ``cases.py`` gets new rows."""

from __future__ import annotations

import json

import torch

from tests.nn.cases import CASES
from tests.nn.test_cases import GOLDEN, run, summary

if __name__ == "__main__":
    found = {case.id: summary(run(case, torch.nn, torch.tensor, case.draw())) for case in CASES}
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
