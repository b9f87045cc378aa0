"""After a run with ``--checked``: one line a kernel, what was run under the checker and that nothing was found."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

CHECKED = "checked kernels"  # property of a test: counts of the kernels that it launched under the checker


class CheckedReport:
    """Adds up the properties of the tests; under pytest-xdist in the process that starts the others."""

    def __init__(self) -> None:
        self.kernels: dict[str, Counter[str]] = defaultdict(Counter)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            for kernel, counts in dict(report.user_properties).get(CHECKED, {}).items():
                self.kernels[kernel].update(counts)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for kernel, counts in sorted(self.kernels.items()):
            accesses = counts["global_accesses"] + counts["shared_accesses"]
            found = "races and other findings: none"
            terminalreporter.write_line(f"{kernel:32} {counts['launches']:6} launches {accesses:11} accesses, {found}")
