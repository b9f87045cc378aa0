"""Models: published parameter counts, parameter names, registry, initial values, input sizes."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnlab
from nnlab import models, nn
from nnlab.errors import ArgumentError, ShapeError

# torchvision's published counts, the 2012 paper's network, and the two LeNets.
COUNTS = {
    "alexnet": 61_100_840,
    "alexnet2012": 60_965_224,
    "vgg11": 132_863_336,
    "vgg11_bn": 132_868_840,
    "vgg13": 133_047_848,
    "vgg13_bn": 133_053_736,
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "vgg19": 143_667_240,
    "vgg19_bn": 143_678_248,
    "lenet5": 61_706,
    "lenet_caffe": 431_080,
    "vgg_small": 283_146,
}
CONVOLUTIONS = {
    "alexnet": [0, 3, 6, 8, 10],
    "vgg11": [0, 3, 6, 8, 11, 13, 16, 18],
    "vgg13_bn": [0, 3, 7, 10, 14, 17, 21, 24, 28, 31],
    "vgg16": [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28],
    "vgg19_bn": [0, 3, 7, 10, 14, 17, 20, 23, 27, 30, 33, 36, 40, 43, 46, 49],
}
DENSE = {"alexnet": [1, 4, 6], "vgg11": [0, 3, 6], "vgg13_bn": [0, 3, 6], "vgg16": [0, 3, 6], "vgg19_bn": [0, 3, 6]}


@pytest.fixture
def shapes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing 140 million weights takes seconds; where only shapes matter they are left unset."""
    for name in ("uniform_", "normal_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *args, **kwargs: tensor)


def test_the_table_is_complete() -> None:
    assert models.names() == sorted(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.usefixtures("shapes_only")
def test_parameter_counts(name: str) -> None:
    assert sum(p.numel() for p in models.create(name).parameters()) == COUNTS[name]


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.usefixtures("shapes_only")
def test_torchvision_names(name: str) -> None:
    model = models.create(name, num_classes=7)
    expected = []
    for i in CONVOLUTIONS[name]:
        expected += [f"features.{i}.weight", f"features.{i}.bias"]
        if name.endswith("_bn"):
            kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
            expected += [f"features.{i + 1}.{kind}" for kind in kinds]
    for i in DENSE[name]:
        expected += [f"classifier.{i}.weight", f"classifier.{i}.bias"]
    assert list(model.state_dict()) == expected
    assert model.state_dict()[expected[-1]].shape == (7,)


def test_registry() -> None:
    assert isinstance(models.create("lenet5", num_classes=3), models.LeNet5)
    with pytest.raises(ArgumentError, match=r"^\[models\] unknown model 'vgg_smal'; did you mean .*vgg_small"):
        models.create("vgg_smal")
    with pytest.raises(ArgumentError, match=r"unknown model 'transformer'; there are alexnet, alexnet2012, lenet5"):
        models.create("transformer")
    with pytest.raises(ArgumentError, match=r"^\[lenet5\] the model takes no argument 'dropout'"):
        models.create("lenet5", dropout=0.5)
    with pytest.raises(ArgumentError, match="unknown model"):
        models.default_size("nothing")


@pytest.mark.parametrize(
    ("name", "native", "size"),
    [
        ("alexnet", None, 224),
        ("vgg16", (32, 32), 224),
        ("vgg_small", (28, 28), 28),
        ("vgg_small", (8, 8), 8),
        ("vgg_small", (480, 640), 64),
        ("vgg_small", None, 64),
        ("lenet5", (28, 28), 28),
        ("lenet5", (32, 32), 32),
        ("lenet5", None, 32),
        ("lenet_caffe", (32, 32), 28),
    ],
)
def test_default_sizes(name: str, native: tuple[int, int] | None, size: int) -> None:
    assert models.default_size(name, native) == size


def test_default_channels() -> None:
    assert [models.default_channels(name) for name in ("alexnet", "vgg11", "vgg_small", "lenet5")] == [3, 3, 1, 1]


@pytest.mark.parametrize(
    ("name", "size", "channels"),
    [
        ("vgg_small", 4, 1),
        ("vgg_small", 8, 1),
        ("vgg_small", 28, 3),
        ("vgg_small", 64, 3),
        ("lenet5", 28, 1),
        ("lenet5", 32, 3),
        ("lenet5", 16, 1),
        ("lenet_caffe", 28, 1),
        ("lenet_caffe", 33, 3),
    ],
)
def test_small_models_take_their_sizes(name: str, size: int, channels: int) -> None:
    model = models.create(name, num_classes=5, in_channels=channels, image_size=size)
    assert model(nnlab.randn(2, channels, size, size)).shape == (2, 5)


def test_lenet5_has_the_same_parameters_for_28_and_32() -> None:
    assert {tuple(v.shape) for v in models.lenet5(image_size=32).state_dict().values()} == {
        tuple(v.shape) for v in models.lenet5(image_size=28).state_dict().values()
    }


@pytest.mark.parametrize(
    ("name", "size", "least"),
    [("alexnet", 62, 63), ("vgg11", 31, 32), ("vgg_small", 3, 4), ("lenet5", 15, 16), ("alexnet2012", 128, 195)],
)
def test_images_that_are_too_small(name: str, size: int, least: int) -> None:
    with pytest.raises(ArgumentError, match=rf"^\[{name}\] 'image_size' must be at least {least}, got {size}"):
        models.create(name, image_size=size)


@pytest.mark.parametrize(("size", "padding", "first"), [(224, (2, 2), 55), (227, (0, 0), 55)])
def test_alexnet2012_comes_to_the_papers_positions(size: int, padding: tuple[int, int], first: int) -> None:
    model = models.alexnet2012(image_size=size, num_classes=10)
    assert model.features[0].padding == padding
    with nnlab.no_grad():
        x = model.features[0](nnlab.zeros(1, 3, size, size))
        assert x.shape == (1, 96, first, first)
        assert model.features[1:](x).shape == (1, 256, 6, 6)


def test_alexnet2012_initial_values() -> None:
    model = models.alexnet2012(num_classes=10)
    biases = [layer.bias.detach().numpy() for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    assert [float(b.min()) for b in biases] == [float(b.max()) for b in biases] == [0, 1, 0, 1, 1, 1, 1, 0]
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            x = layer.weight.detach().numpy().astype(np.float64)
            assert abs(x.std() / 0.01 - 1) < 5 / math.sqrt(2 * x.size)


def test_vgg_initial_values() -> None:
    model = models.vgg11(num_classes=10)
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            x = layer.weight.detach().numpy().astype(np.float64)
            std = math.sqrt(2 / (layer.out_channels * 9)) if isinstance(layer, nn.Conv2d) else 0.01
            assert abs(x.std() / std - 1) < 5 / math.sqrt(2 * x.size)
            assert not layer.bias.any().item()


def test_vgg_without_its_own_initial_values() -> None:
    nnlab.manual_seed(3)
    plain = nn.Conv2d(3, 64, 3, padding=1)
    nnlab.manual_seed(3)
    model = models.vgg11(num_classes=2, init_weights=False)
    assert np.array_equal(model.features[0].weight.detach().numpy(), plain.weight.detach().numpy())
    with pytest.raises(ArgumentError, match=r"\[VGG\] 'configuration' must be one of vgg11"):
        models.VGG("vgg12")


def test_wrong_channels_name_the_layer() -> None:
    with pytest.raises(ShapeError, match=r"^\[Conv2d\] 'input' must have 1 channels .* \(layer features.0\)$"):
        models.vgg_small()(nnlab.zeros(1, 3, 28, 28))


def test_vgg_small_learns() -> None:
    """Eight images of noise by heart."""
    nnlab.manual_seed(0)
    model = models.vgg_small(dropout=0.0)
    x, target = nnlab.randn(8, 1, 12, 12), nnlab.arange(8)
    optimizer = nnlab.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(15):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


def test_alexnet2012_normalises_by_the_papers_formula() -> None:
    """b = a / (k + alpha * sum of a**2 over n = 5 channels)**beta, with k = 2, alpha = 1e-4, beta = 0.75."""
    model = models.alexnet2012(num_classes=2)
    for index, channels in ((2, 96), (6, 256)):
        a = np.random.default_rng(index).standard_normal((1, channels, 2, 3)) * 50
        expected = np.empty_like(a)
        for c in range(channels):
            near = a[:, max(0, c - 2) : c + 3]
            expected[:, c] = a[:, c] / (2 + 1e-4 * (near**2).sum(1)) ** 0.75
        np.testing.assert_allclose(model.features[index](nnlab.tensor(a)).numpy(), expected, rtol=1e-12)


@pytest.mark.usefixtures("shapes_only")
def test_sides_of_alexnets_maps() -> None:
    """Overlapping pooling, 3 by 2: 55 to 27 to 13 to 6."""
    for name in ("alexnet", "alexnet2012"):
        model = models.create(name, num_classes=2)
        pools = [row for row in models.summary(model, (1, 3, 224, 224)).rows if row.kind == "MaxPool2d"]
        assert [row.output_shape[2:] for row in pools] == [(27, 27), (13, 13), (6, 6)]
