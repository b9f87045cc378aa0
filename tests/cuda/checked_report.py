"""After a run with ``--checked``: one line a kernel, what was run and that nothing was found. After any run: figures of
tests/cuda/counts.json that have become better.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

CHECKED = "checked kernels"  # property of a test: counts of the kernels that it launched under the checker
BETTER = "better counts"  # property of a test: figures that are better than the kept ones, a line each


class CheckedReport:
    """Adds up the properties of the tests; under pytest-xdist in the process that starts the others."""

    def __init__(self) -> None:
        self.kernels: dict[str, Counter[str]] = defaultdict(Counter)
        self.better: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.better += dict(report.user_properties).get(BETTER, [])
            for kernel, counts in dict(report.user_properties).get(CHECKED, {}).items():
                self.kernels[kernel].update(counts)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for kernel, counts in sorted(self.kernels.items()):
            accesses = counts["global_accesses"] + counts["shared_accesses"]
            found = "races and other findings: none"
            terminalreporter.write_line(f"{kernel:32} {counts['launches']:6} launches {accesses:11} accesses, {found}")
        if self.better:
            terminalreporter.write_line("less memory traffic than tests/cuda/counts.json says; `make counts` keeps it:")
        for line in self.better:
            terminalreporter.write_line(f"  {line}")
