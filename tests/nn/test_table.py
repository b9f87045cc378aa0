"""The table of layers is whole: every layer of ``nn`` has rows, and they try every argument and every kind of input."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import pytest

from nnlab import nn
from tests.nn.cases import CASES

CLASSES = {name: made for name in nn.__all__ if isinstance(made := getattr(nn, name), type)}
ROWS = {name: [case for case in CASES if case.name == name] for name in CLASSES}

# Layers that PyTorch is asked for by no row: the test that compares them instead, and why.
ELSEWHERE: dict[str, tuple[str, str]] = {
    "Dropout": ("test_layers.test_dropout_scales_what_it_keeps", "random: compared given its mask"),
    **{f"Dropout{n}d": ("test_dropouts.test_channels_given_the_mask", "random: given the mask") for n in (1, 2, 3)},
    "AlphaDropout": ("test_dropouts.test_alpha_given_the_mask", "random: given the mask"),
    "FeatureAlphaDropout": ("test_dropouts.test_alpha_given_the_mask", "random: given the mask"),
    "Module": ("test_module.test_names_in_order_of_assignment", "computes nothing"),
    "Parameter": ("test_module.test_names_in_order_of_assignment", "computes nothing"),
    "Sequential": ("test_containers.test_sequential_calls_in_order", "computes nothing of its own"),
    "ModuleList": ("test_containers.test_module_list", "computes nothing"),
    "ModuleDict": ("test_containers.test_module_dict", "computes nothing"),
    "ParameterList": ("test_containers.test_parameter_list", "computes nothing"),
    "ParameterDict": ("test_containers.test_parameter_dict", "computes nothing"),
}

# Arguments that no row gives another value than their default, of layers whose names start so: and why.
_RANDOM = "random: given the mask in"
UNTRIED: dict[tuple[str, str], str] = {
    ("", "device"): "test_device.py",
    ("", "dtype"): "docs/agreement.md has all dtypes",
    ("", "inplace"): "test_activations.test_in_place and test_dropouts.test_ends_text_and_in_place",
    ("MultiheadAttention", "dropout"): f"{_RANDOM} test_attention.py",
    **{(name, "dropout"): f"{_RANDOM} test_recurrent_device.py" for name in ("RNN", "LSTM", "GRU")},
    ("LSTM", "peepholes"): "not in PyTorch: test_lstm_variants.py",
    ("LSTM", "coupled"): "not in PyTorch: test_lstm_variants.py",
    ("ConvTranspose", "padding_mode"): "'zeros' is the only one that there is, as in PyTorch",
    ("Embedding", "sparse"): "False is the only one that there is",
    ("Embedding", "_freeze"): "test_embedding.test_start_and_pretrained",
    ("EmbeddingBag", "scale_grad_by_freq"): "PyTorch 2.13 divides by wrong counts: test_embedding.test_worked_numbers",
    ("TransformerEncoder", "mask_check"): "taken for PyTorch's sake, without an effect",
    ("TripletMarginWithDistanceLoss", "distance_function"): "test_losses.test_another_distance_for_triplets",
}

# PyTorch's layers of these names take inputs with a batch only.
ONLY_BATCHES = ("BatchNorm", "GroupNorm", "LocalResponseNorm", "ChannelShuffle", "Upsample", "Upsampling", "Flatten")

# Here other arguments count the samples too: rows have a fixed number of them.
FIXED = ("CTCLoss", "FractionalMaxPool")


@pytest.mark.parametrize("name", CLASSES)
def test_a_layer_has_rows(name: str) -> None:
    compared = any(case.peer for case in ROWS[name])
    where = "a row in tests/nn/cases.py, or in ELSEWHERE the test that compares it"
    assert compared != (name in ELSEWHERE), f"{name} needs {where}"


def test_the_tests_elsewhere_are_there() -> None:
    assert set(ELSEWHERE) <= set(CLASSES)
    for place, _ in ELSEWHERE.values():
        module, _, test = place.partition(".")
        assert callable(getattr(import_module(f"tests.nn.{module}"), test)), place


def test_no_two_rows_are_called_the_same() -> None:
    """By their names their inputs are drawn and their numbers kept."""
    ids = [case.id for case in CASES]
    assert not [name for name in set(ids) if ids.count(name) > 1]


def tried(name: str, parameter: inspect.Parameter) -> bool:
    """Whether a row gives the argument another value than the default."""
    signature = inspect.signature(CLASSES[name])
    for case in ROWS[name]:
        given = signature.bind(*case.args, **case.kwargs).arguments
        if parameter.name in given and repr(given[parameter.name]) != repr(parameter.default):
            return True
    return False


def untried(name: str) -> set[str]:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    every = inspect.signature(CLASSES[name]).parameters.values()
    return {one.name for one in every if one.kind not in kinds and not tried(name, one)}


WITH_ROWS = [name for name in CLASSES if ROWS[name]]
REDUCED = [name for name in WITH_ROWS if "reduction" in inspect.signature(CLASSES[name]).parameters]


@pytest.mark.parametrize("name", WITH_ROWS)
def test_rows_try_every_argument(name: str) -> None:
    excused = {argument for start, argument in UNTRIED if name.startswith(start)}
    assert untried(name) <= excused


def test_no_excuse_is_idle() -> None:
    for start, argument in UNTRIED:
        assert any(argument in untried(name) for name in WITH_ROWS if name.startswith(start)), (start, argument)


@pytest.mark.parametrize("name", [name for name in WITH_ROWS if name not in ELSEWHERE])
def test_rows_are_with_and_without_a_batch(name: str) -> None:
    alone = [case for case in ROWS[name] if case.batch is None or len(case.inputs[0].shape) < 2]
    assert bool(alone) != name.startswith(ONLY_BATCHES) or name == "Identity"
    assert len(alone) < len(ROWS[name]) or name.startswith(FIXED)


@pytest.mark.parametrize(
    "name", [name for name in WITH_ROWS if "reduction" in inspect.signature(CLASSES[name]).parameters]
)
def test_losses_are_reduced_in_every_way(name: str) -> None:
    """Whatever else is given."""
    ways: dict[str, set[Any]] = {}
    for case in ROWS[name]:
        others = {key: value for key, value in case.kwargs.items() if key != "reduction"}
        ways.setdefault(case._replace(kwargs=others).id, set()).add(case.kwargs["reduction"])
    wanted = {"mean", "sum", "none"} | ({"batchmean"} if name == "KLDivLoss" else set())
    assert all(found == wanted for found in ways.values())
