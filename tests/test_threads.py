"""How many threads the CPU works with."""

from __future__ import annotations

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.backend import threads
from nnlab.errors import ArgumentError
from nnlab.models import create
from nnlab.optim import SGD, Adam


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_chosen", None)
    for variable in threads.VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def test_what_was_set_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = nnlab.get_num_threads()
    assert cores >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert nnlab.get_num_threads() == 3
    monkeypatch.setenv("NNLAB_NUM_THREADS", "5")
    assert nnlab.get_num_threads() == 5
    nnlab.set_num_threads(7)
    assert nnlab.get_num_threads() == 7


@pytest.mark.parametrize("value", ["0", "x", "", "-2"])
def test_the_environment_must_be_a_positive_number(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cores = nnlab.get_num_threads()
    monkeypatch.setenv("NNLAB_NUM_THREADS", value)
    assert nnlab.get_num_threads() == cores


@pytest.mark.parametrize("wrong", [0, -1, 2.0, True, "2"])
def test_a_number_of_threads_is_positive(wrong: object) -> None:
    with pytest.raises(ArgumentError, match=r"\[set_num_threads\] 'threads' must be a positive integer"):
        nnlab.set_num_threads(wrong)  # type: ignore[arg-type]


def test_blas_threads_are_held_and_given_back() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    libraries = threads._blas()
    assert libraries, "NumPy's BLAS is not known to threadpoolctl"
    before = [library.get_num_threads() for library in libraries]
    try:
        for library in libraries:
            library.set_num_threads(2)
        with threads.one_blas_thread(), threads.one_blas_thread():
            assert {library.get_num_threads() for library in libraries} == {1}
        assert {library.get_num_threads() for library in libraries} == {2}
        with pytest.raises(ValueError, match="inside"), threads.one_blas_thread():
            raise ValueError("inside")
        assert {library.get_num_threads() for library in libraries} == {2}
    finally:
        for library, count in zip(libraries, before, strict=True):
            library.set_num_threads(count)


def test_the_blas_is_named() -> None:
    name, version, *_ = threads.blas_name().split()
    assert name.isalpha() and version[0].isdigit()


def _trained(network: str, optimizer: type, count: int) -> dict[str, np.ndarray]:
    """Weights after three steps, computed by so many threads."""
    nnlab.set_num_threads(count)
    nnlab.manual_seed(0)
    model = create(network, num_classes=10, in_channels=1, image_size=28)
    update = optimizer(model.parameters(), lr=1e-3)
    x, target = nnlab.randn(32, 1, 28, 28), nnlab.randint(0, 10, (32,))
    for _ in range(3):
        update.zero_grad()
        nn.functional.cross_entropy(model(x), target).backward()
        update.step()
    return {name: value.numpy() for name, value in model.state_dict().items()}


@pytest.mark.parametrize(("network", "optimizer"), [("lenet5", SGD), ("vgg_small", Adam)])
def test_training_gives_the_same_bits_with_any_number_of_threads(network: str, optimizer: type) -> None:
    want = _trained(network, optimizer, 1)
    for count in (2, 5):
        for name, value in _trained(network, optimizer, count).items():
            np.testing.assert_array_equal(value, want[name], f"{name} with {count} threads")
