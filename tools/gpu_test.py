"""Run the tests that need a GPU on the GPU, all of them, and write down how it went: ``make gpu-test``.

    python3 -m tools.gpu_test --out report

in a checkout. Needs Python 3.11 with CuPy, NumPy and pytest; no network. A test that is skipped counts as failed. The
folder gets report.json: the machine, the versions, every test with its outcome and time, the losses of a training; and
agreement.json, how far each layer was from float64, which belongs into benchmarks/records/<device> (docs/agreement.md).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NEEDED = ("numpy", "pytest")


class Outcomes:
    """A pytest plugin: what became of each test, and what tests wrote down."""

    def __init__(self) -> None:
        self.tests: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or not report.passed:
            entry = {"outcome": report.outcome, "seconds": round(report.duration, 3), **dict(report.user_properties)}
            if not report.passed:
                reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
                entry["reason"] = reason[-2000:]
            self.tests[report.nodeid] = entry

    def pytest_collectreport(self, report: Any) -> None:
        if not report.passed:
            self.tests[report.nodeid] = {
                "outcome": report.outcome,
                "seconds": 0,
                "reason": str(report.longrepr)[-2000:],
            }


def machine() -> dict[str, Any]:
    """The GPU and the versions, as far as they can be had."""
    facts: dict[str, Any] = {"python": platform.python_version(), "platform": platform.platform()}
    for name in ("numpy", "pytest", "cupy"):
        if importlib.util.find_spec(name) is not None:
            facts[name] = __import__(name).__version__
    git = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    facts["commit"] = subprocess.run(git, capture_output=True, text=True).stdout.strip() if shutil.which("git") else ""
    from nnlab.backend import cuda

    facts["no_gpu"] = cuda.why_unusable()
    if facts["no_gpu"] is None:
        import cupy

        properties = cupy.cuda.runtime.getDeviceProperties(0)
        facts["gpu"] = properties["name"].decode()
        facts["compute_capability"] = f"{properties['major']}.{properties['minor']}"
        facts["driver"] = cupy.cuda.runtime.driverGetVersion()
        facts["nvrtc"] = cuda.nvrtc_version()
    return facts


def write_agreement(folder: Path, facts: dict[str, Any], tests: dict[str, dict[str, Any]]) -> None:
    """What tests/cuda/test_gpu_agreement.py noted down moves from the tests' entries to a file of its own."""
    layers: dict[str, Any] = {}
    for entry in tests.values():
        layers |= entry.pop("agreement", {})
    if layers:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"machine": facts, "layers": layers}, indent=1) + "\n"
        (folder / "agreement.json").write_text(text, encoding="utf-8")


def sanitizer_command() -> str:
    """A small part of the cases under compute-sanitizer: every kernel, for one dtype."""
    found = shutil.which("compute-sanitizer") or "compute-sanitizer"
    return (
        f"{found} --tool memcheck --error-exitcode 1 {sys.executable} -m pytest -q --require-gpu -p no:cacheprovider "
        "-W default tests/cuda/test_gpu_cases.py -k float32-32"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="make gpu-test", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "gpu-test", help="folder of the report")
    parser.add_argument("rest", nargs="*", help="arguments for pytest, after --")
    arguments = parser.parse_args()
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(f"gpu-test: {sys.executable} has no {' and no '.join(missing)}")
        return 2
    import pytest

    files = sorted(map(str, (ROOT / "tests" / "cuda").glob("test_gpu*.py")))
    options = ["-q", "--require-gpu", f"--rootdir={ROOT}", "-p", "no:cacheprovider", "-W", "default", "--tb=short"]
    outcomes, start = Outcomes(), time.monotonic()
    status = pytest.main([*options, *files, *arguments.rest], plugins=[outcomes])
    counts = Counter(entry["outcome"] for entry in outcomes.tests.values())
    facts = machine()
    write_agreement(arguments.out, facts, outcomes.tests)
    report = {
        "machine": facts,
        "seconds": round(time.monotonic() - start, 1),
        "counts": dict(counts),
        "arguments": arguments.rest,
        "tests": outcomes.tests,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    good = status == 0 and counts["passed"] > 0 and set(counts) == {"passed"}
    print(f"gpu-test: {facts.get('gpu') or 'no GPU: ' + str(facts['no_gpu'])}")
    found = ", ".join(f"{n} {what}" for what, n in counts.items()) or "no test ran"
    print(f"gpu-test: {found}; {arguments.out / 'report.json'}")
    print(f"gpu-test: where compute-sanitizer exists, run in {ROOT}:\n  {sanitizer_command()}")
    if not good:
        print("gpu-test: FAILED (a skipped test is a failure)")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
