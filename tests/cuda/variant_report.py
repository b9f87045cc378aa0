"""Counts the kernel builds that tests/cuda/test_variants.py compared with oracles; a run that left some out fails."""

from __future__ import annotations

import pytest

TOTAL = "variant tests"  # property of a test: how many tests test_variants.py has
LAUNCHED = "kernel variants"  # property of a test: the builds that it launched


class VariantReport:
    """Collects the properties of the tests that passed; under pytest-xdist in the process that starts the others."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.passed: set[str] = set()
        self.launched: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties = dict(report.user_properties)
        if report.when != "call" or not report.passed or TOTAL not in properties:
            return
        self.total = properties[TOTAL]
        self.passed.add(report.nodeid)
        self.launched.update(properties[LAUNCHED])

    def missing(self) -> list[str]:
        """The builds that were not launched."""
        from nnlab.cuda.variants import variants
        from nnlab.ops._cuda import kernels

        every = [str(variant) for kernel in kernels() for variant in variants(kernel)]
        return [name for name in every if name not in self.launched]

    @property
    def whole(self) -> bool:
        """Whether all tests of test_variants.py ran and passed."""
        return self.total is not None and len(self.passed) == self.total

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.whole and self.missing() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.total is None:
            return
        missing = self.missing()
        part = "" if self.whole else f" (by {len(self.passed)} of {self.total} tests)"
        count = f"{len(self.launched)} of {len(self.launched) + len(missing)}"
        terminalreporter.write_line(f"kernel variants compared: {count}{part}", red=bool(self.whole and missing))
        for name in missing if self.whole else ():
            terminalreporter.write_line(f"  not compared: {name}", red=True)
