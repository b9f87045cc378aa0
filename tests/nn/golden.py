"""Writes ``golden.json`` from PyTorch: ``python -m tests.nn.golden``. Needed when ``cases.py`` gets new rows.

Rows of layers that PyTorch does not have, or that draw random numbers, keep our own numbers.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch

import nnlab
from tests.nn.cases import CASES
from tests.nn.running import run, summary

GOLDEN = Path(__file__).with_name("golden.json")

if __name__ == "__main__":
    warnings.simplefilter("ignore")  # PyTorch's about what 'mean' means in KLDivLoss
    rows = []
    for case in CASES:
        library, tensor = (torch.nn, torch.tensor) if case.peer else (nnlab.nn, nnlab.tensor)
        found = summary(run(case, library, tensor, case.draw()))
        rows.append(f"{json.dumps(case.id)}: {json.dumps({name: float(f'{n:.12g}') for name, n in found.items()})}")
    GOLDEN.write_text("{\n" + ",\n".join(rows) + "\n}\n")
