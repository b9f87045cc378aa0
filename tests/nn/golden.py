"""Writes ``golden.json`` from PyTorch: ``python -m tests.nn.golden``. Needed when ``cases.py`` gets new rows."""

from __future__ import annotations

import json
import warnings

import torch

from tests.nn.cases import CASES
from tests.nn.test_cases import GOLDEN, run, summary

if __name__ == "__main__":
    warnings.simplefilter("ignore")  # PyTorch's about what 'mean' means in KLDivLoss
    found = {case.id: summary(run(case, torch.nn, torch.tensor, case.draw())) for case in CASES}
    rows = [f"{json.dumps(name)}: {json.dumps(numbers)}" for name, numbers in found.items()]
    GOLDEN.write_text("{\n" + ",\n".join(rows) + "\n}\n")
