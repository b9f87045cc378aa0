"""Network definitions, by name: ``create("vgg16", num_classes=10)``."""

from __future__ import annotations

from nnlab.models.alexnet import AlexNet, AlexNet2012, alexnet, alexnet2012
from nnlab.models.lenet import LeNet5, LeNetCaffe, lenet5, lenet_caffe
from nnlab.models.registry import create, default_channels, default_size, names
from nnlab.models.summary import Row, Summary, summary
from nnlab.models.vgg import (
    VGG,
    VGGSmall,
    vgg11,
    vgg11_bn,
    vgg13,
    vgg13_bn,
    vgg16,
    vgg16_bn,
    vgg19,
    vgg19_bn,
    vgg_small,
)

__all__ = [
    "VGG",
    "AlexNet",
    "AlexNet2012",
    "LeNet5",
    "LeNetCaffe",
    "Row",
    "Summary",
    "VGGSmall",
    "alexnet",
    "alexnet2012",
    "create",
    "default_channels",
    "default_size",
    "lenet5",
    "lenet_caffe",
    "names",
    "summary",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "vgg_small",
]
