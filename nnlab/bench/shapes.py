"""The named sets of problems: layers of known networks."""

from __future__ import annotations

from collections.abc import Callable

from nnlab.bench.conv import Conv2d, ConvTranspose2d
from nnlab.bench.dense import Linear
from nnlab.bench.pointwise import CrossEntropy, Dropout, LocalResponseNorm
from nnlab.bench.pool import MaxPool2d
from nnlab.bench.problem import Problem
from nnlab.bench.recurrent import LSTM
from nnlab.bench.step import OptimizerStep

# Batch sizes for a CPU and for a GPU.
BATCHES = {
    "alexnet": (16, 128),
    "vgg16": (4, 64),
    "resnet50": (4, 64),
    "misc": (4, 32),
    "transposed": (4, 32),
    "lstm": (32, 64),
}


def alexnet(batch: int) -> list[Problem]:
    """One tower of 61.1 million parameters, 1.428 GFLOP forward an image."""
    convolutions = [
        Conv2d("alexnet", "conv1", batch, 3, 64, 224, 11, stride=4, padding=2),
        Conv2d("alexnet", "conv2", batch, 64, 192, 27, 5, padding=2),
        Conv2d("alexnet", "conv3", batch, 192, 384, 13, 3, padding=1),
        Conv2d("alexnet", "conv4", batch, 384, 256, 13, 3, padding=1),
        Conv2d("alexnet", "conv5", batch, 256, 256, 13, 3, padding=1),
    ]
    pools = [
        MaxPool2d("alexnet", f"pool{i}", batch, channels, side, 3, 2)
        for i, channels, side in ((1, 64, 55), (2, 192, 27), (5, 256, 13))
    ]
    dense = [
        Linear("alexnet", "fc6", batch, 9216, 4096),
        Linear("alexnet", "fc7", batch, 4096, 4096),
        Linear("alexnet", "fc8", batch, 4096, 1000),
    ]
    return [
        *convolutions,
        *pools,
        LocalResponseNorm("alexnet", "norm1", batch, 96, 55),
        *dense,
        Dropout("alexnet", "drop6", batch, 9216),
        CrossEntropy("alexnet", "loss", batch, 1000),
        OptimizerStep("alexnet", "step", _parameters([*convolutions, *dense])),
    ]


def vgg16(batch: int) -> list[Problem]:
    """138 million parameters, 30.94 GFLOP forward an image."""
    problems: list[Problem] = []
    convolutions: list[Problem] = []
    channels, side = 3, 224
    for block, (width, depth) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        for layer in range(1, depth + 1):
            convolutions.append(Conv2d("vgg16", f"conv{block}_{layer}", batch, channels, width, side, 3, padding=1))
            channels = width
        problems.append(MaxPool2d("vgg16", f"pool{block}", batch, width, side, 2, 2))
        side //= 2
    dense = [
        Linear("vgg16", "fc6", batch, 25088, 4096),
        Linear("vgg16", "fc7", batch, 4096, 4096),
        Linear("vgg16", "fc8", batch, 4096, 1000),
    ]
    step = OptimizerStep("vgg16", "step", _parameters([*convolutions, *dense]))
    return [*convolutions, *problems, *dense, CrossEntropy("vgg16", "loss", batch, 1000), step]


def resnet50(batch: int) -> list[Problem]:
    """A convolution of each kind, of every stage."""
    problems: list[Problem] = [Conv2d("resnet50", "conv1", batch, 3, 64, 224, 7, stride=2, padding=3)]
    for stage, width, side in ((2, 64, 56), (3, 128, 28), (4, 256, 14), (5, 512, 7)):
        problems += [
            Conv2d("resnet50", f"reduce{stage}", batch, 4 * width, width, side, 1),
            Conv2d("resnet50", f"spatial{stage}", batch, width, width, side, 3, padding=1),
            Conv2d("resnet50", f"expand{stage}", batch, width, 4 * width, side, 1),
        ]
        if stage > 2:
            problems.append(Conv2d("resnet50", f"halve{stage}", batch, width, width, 2 * side, 3, 2, 1))
    problems.append(MaxPool2d("resnet50", "pool1", batch, 64, 112, 3, 2, 1))
    return problems


def misc(batch: int) -> list[Problem]:
    """What networks of other kinds need: grouped, depthwise, dilated, odd."""
    return [
        Conv2d("misc", "grouped", batch, 256, 256, 28, 3, padding=1, groups=32),
        Conv2d("misc", "alexnet2012 conv2", batch, 96, 256, 27, 5, padding=2, groups=2),
        Conv2d("misc", "depthwise", batch, 144, 144, 56, 3, padding=1, groups=144),
        Conv2d("misc", "depthwise s2", batch, 144, 144, 56, 3, 2, 1, groups=144),
        Conv2d("misc", "dilated", batch, 128, 128, 28, 3, padding=2, dilation=2),
        Conv2d("misc", "odd", batch, 37, 53, (31, 45), (5, 3), padding=1),
        Conv2d("misc", "lenet conv1", 64, 1, 6, 32, 5),
        Conv2d("misc", "lenet conv2", 64, 6, 16, 14, 5),
    ]


def transposed(batch: int) -> list[Problem]:
    """Ways up: a U-Net's and a DCGAN generator's."""
    unet = [
        ConvTranspose2d("unet", f"up{i}", batch, 2 * width, width, side, 2, stride=2)
        for i, width, side in ((1, 256, 28), (2, 128, 56), (3, 64, 112))
    ]
    dcgan = [
        ConvTranspose2d("dcgan", f"up{i}", batch, channels, out, side, 4, stride=2, padding=1)
        for i, channels, out, side in ((1, 512, 256, 4), (2, 256, 128, 8), (3, 128, 64, 16), (4, 64, 3, 32))
    ]
    return [*unet, *dcgan]


def lstm(batch: int) -> list[Problem]:
    """A character model's layers, and grids of sizes."""
    grid = [(32, 64), (64, 256), (16, 512), (64, 1024)]
    return [
        LSTM("lstm", "character", 64, batch, 64, 256, layers=2),
        *[LSTM("lstm", f"T{steps} H{hidden}", steps, batch, hidden, hidden) for steps, hidden in grid],
    ]


SETS: dict[str, Callable[[int], list[Problem]]] = {
    "alexnet": alexnet,
    "vgg16": vgg16,
    "resnet50": resnet50,
    "misc": misc,
    "transposed": transposed,
    "lstm": lstm,
}


def _parameters(layers: list[Problem]) -> tuple[tuple[int, ...], ...]:
    """Shapes of weights and biases."""
    shapes: list[tuple[int, ...]] = []
    for layer in layers:
        if isinstance(layer, Linear):
            shapes += [(layer.outputs, layer.inputs), (layer.outputs,)]
        elif isinstance(layer, Conv2d):
            shapes += [layer.geometry.w_shape, (layer.out_channels,)]
    return tuple(shapes)
