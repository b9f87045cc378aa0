"""Summary: shapes, parameters, multiply-adds and memory, by hand and against published counts."""

from __future__ import annotations

import pytest

import nnlab
from nnlab import models, nn
from nnlab.errors import ArgumentError, ShapeError


def test_by_hand() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, groups=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Sequential(nn.Flatten(), nn.Linear(8 * 4 * 5, 10)),
    )
    found = models.summary(net, (2, 3, 8, 10))
    assert [
        (r.path, r.kind, r.output_shape, r.parameters, r.multiply_adds, r.activation_bytes) for r in found.rows
    ] == [
        ("0", "Conv2d", (2, 8, 8, 10), 3 * 8 * 9 + 8, 2 * 8 * 80 * 27, 2 * 8 * 80 * 4),
        ("1", "BatchNorm2d", (2, 8, 8, 10), 16, 0, 2 * 8 * 80 * 4),
        ("2", "ReLU", (2, 8, 8, 10), 0, 0, 0),
        ("3", "MaxPool2d", (2, 8, 4, 5), 0, 0, 2 * 8 * 20 * 4),
        ("4.0", "Flatten", (2, 160), 0, 0, 2 * 160 * 4),
        ("4.1", "Linear", (2, 10), 1610, 2 * 1600, 2 * 10 * 4),
    ]
    assert found.model == "Sequential"
    assert found.input_shape == (2, 3, 8, 10)
    assert found.parameters == found.trainable_parameters == 224 + 16 + 1610
    assert found.parameter_bytes == 4 * found.parameters + 2 * 8 * 4 + 8
    assert found.multiply_adds == sum(r.multiply_adds for r in found.rows)
    assert found.activation_bytes == sum(r.activation_bytes for r in found.rows)


def test_groups_and_transposed_convolutions() -> None:
    found = models.summary(nn.Conv2d(4, 6, 3, groups=2), (1, 4, 5, 5))
    assert found.multiply_adds == 6 * 9 * 2 * 9
    found = models.summary(nn.ConvTranspose2d(4, 6, 2, stride=2), (1, 4, 5, 5))
    assert found.rows[0].path == ""
    assert found.multiply_adds == 4 * 25 * 6 * 4


def test_shared_layers_are_counted_once_and_run_twice() -> None:
    layer = nn.Linear(3, 3)
    found = models.summary(nn.Sequential(layer, layer), (1, 3))
    assert [row.parameters for row in found.rows] == [12, 0]
    assert (found.parameters, found.multiply_adds) == (12, 18)


def test_the_model_is_left_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5))
    net[1].eval()
    net[0].requires_grad_(False)
    before = nnlab.default_generator.get_state()
    found = models.summary(net, (1, 1, 5, 5))
    assert found.trainable_parameters == 4
    assert [m.training for m in net] == [True, False, True]
    assert net[1].num_batches_tracked.item() == 0
    assert nnlab.default_generator.get_state() == before
    assert not net[0]._hooks
    with pytest.raises(ShapeError, match=r"^\[Conv2d\] 'input' must have 1 channels"):
        models.summary(net, (1, 2, 5, 5))
    assert not net[0]._hooks
    assert [m.training for m in net] == [True, False, True]


def test_bad_shapes() -> None:
    with pytest.raises(ArgumentError, match=r"\[summary\] 'input_shape' must be positive ints, got \(1, 0\)"):
        models.summary(nn.Identity(), (1, 0))


@pytest.mark.parametrize(
    ("name", "shape", "giga"),
    [
        ("alexnet", (1, 3, 224, 224), 0.714),  # torchvision's published figure
        ("vgg_small", (1, 1, 28, 28), 0.022),
        pytest.param("vgg16", (1, 3, 224, 224), 15.470, marks=pytest.mark.slow),  # torchvision's too
    ],
)
def test_multiply_adds_of_published_networks(name: str, shape: tuple[int, ...], giga: float) -> None:
    model = models.create(name)
    assert models.summary(model, shape).multiply_adds / 1e9 == pytest.approx(giga, abs=6e-4)
