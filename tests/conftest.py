"""Shared by all tests: the data folder, the GPU rule, and determinism of hypothesis."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from nnlab.random import manual_seed
from tests.cuda.checked_report import CheckedReport
from tests.cuda.variant_report import VariantReport

ROOT = Path(__file__).resolve().parent.parent

if importlib.util.find_spec("hypothesis") is not None:  # a bare GPU machine has none; no test for a GPU draws with it
    import hypothesis

    hypothesis.settings.register_profile(
        "nnlab",
        deadline=None,  # the first call of a case may compile or import
        derandomize=True,  # the same cases on every machine
        max_examples=50,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile("nnlab")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(VariantReport())
    config.pluginmanager.register(CheckedReport())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-gpu", action="store_true", help="fail, instead of skipping, tests that need a GPU")
    parser.addoption(
        "--checked", action="store_true", help="look at every memory access in tests/cuda/test_variants.py"
    )
    parser.addoption("--update-counts", action="store_true", help="write tests/cuda/counts.json anew")
    parser.addoption("--update-sass", action="store_true", help="write tests/cuda/sass.json anew")
    parser.addoption("--require-nvdisasm", action="store_true", help="fail, instead of skipping, without nvdisasm")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is None:
        return
    from nnlab.backend import cuda

    reason = cuda.why_unusable()
    if reason is None:
        return
    if item.config.getoption("--require-gpu"):
        pytest.fail(f"--require-gpu, but no GPU is usable: {reason}", pytrace=False)
    pytest.skip(f"needs a GPU: {reason}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that take the ``data_dir`` fixture use files that are not in the repository: mark them ``external``."""
    for item in items:
        if "data_dir" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.external)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """``make peer`` runs the tests that are marked ``torch``: one that needs PyTorch without saying so never ran."""
    report = yield
    if report.skipped and "'torch'" in str(report.longrepr) and item.get_closest_marker("torch") is None:
        report.outcome, report.longrepr = "failed", "needs PyTorch: mark it with @pytest.mark.torch"
    return report


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from seed 0."""
    manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kernels that tests compile do not go to the user's cache folder. Processes of one run share what they compile."""
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NNLAB_CACHE_DIR", str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"))
        yield


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real data sets: NNLAB_TEST_DATA, else ``../shared/data`` beside the repository."""
    named = os.environ.get("NNLAB_TEST_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there (name another folder in NNLAB_TEST_DATA)")
    return folder


@pytest.fixture
def kernel_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty kernel cache of this test's own."""
    folder = tmp_path / "kernel-cache"
    monkeypatch.setenv("NNLAB_CACHE_DIR", str(folder))
    return folder


@pytest.fixture(scope="session")
def cupy_installed() -> None:
    """Skip unless CuPy can be imported (no GPU is needed for that)."""
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("CuPy is not installed (extra cuda12 or cuda13)")
