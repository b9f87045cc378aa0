"""LeNet, in the 1998 layout and in Caffe's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnlab import nn
from nnlab.autograd import Tensor
from nnlab.models.registry import check_size, register


def _last_side(size: int) -> int:
    """Side of the maps after twice a 5 x 5 convolution and pooling by 2."""
    return ((size - 4) // 2 - 4) // 2


class LeNet5(nn.Module):
    """LeNet-5 in its common modern reading: all-to-all second convolution, average pooling, tanh, plain dense output.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        image_size: side of the images, at least 16. 32 is the paper's; below 32 the first convolution pads by 2, which
            makes 28 the same as 32.

    Input (N, in_channels, image_size, image_size); output (N, num_classes). 61,706 parameters with 28 or 32.
    Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", Proc. IEEE 1998.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, image_size: int = 28) -> None:
        super().__init__()
        check_size("lenet5", image_size, 16)
        padding = 2 if image_size < 32 else 0
        side = _last_side(image_size + 2 * padding)
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, kernel_size=5, padding=padding),
            nn.Tanh(),
            nn.AvgPool2d(kernel_size=2, stride=2),
            nn.Conv2d(6, 16, kernel_size=5),
            nn.Tanh(),
            nn.AvgPool2d(kernel_size=2, stride=2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(16 * side * side, 120),
            nn.Tanh(),
            nn.Linear(120, 84),
            nn.Tanh(),
            nn.Linear(84, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class LeNetCaffe(nn.Module):
    """Caffe's LeNet for MNIST: max pooling, no nonlinearity after the convolutions, one ReLU.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        image_size: side of the images, at least 16; 28 as published.

    Input (N, in_channels, image_size, image_size), pixel values times 1/256; output (N, num_classes). 431,080
    parameters. The layers have Caffe's names (conv1, conv2, ip1, ip2), so that ``conv1/W`` of its weights is
    ``conv1.weight`` here.
    Source: the example "lenet" of Caffe (Jia et al., 2014).
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, image_size: int = 28) -> None:
        super().__init__()
        check_size("lenet_caffe", image_size, 16)
        side = _last_side(image_size)
        self.conv1 = nn.Conv2d(in_channels, 20, kernel_size=5)
        self.pool1 = nn.MaxPool2d(kernel_size=2, stride=2)
        self.conv2 = nn.Conv2d(20, 50, kernel_size=5)
        self.pool2 = nn.MaxPool2d(kernel_size=2, stride=2)
        self.ip1 = nn.Linear(50 * side * side, 500)
        self.relu1 = nn.ReLU()
        self.ip2 = nn.Linear(500, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool2(self.conv2(self.pool1(self.conv1(x))))
        return self.ip2(self.relu1(self.ip1(x.flatten(1))))


def _size(native: Sequence[int] | None) -> int:
    """The paper's 32, or 28 for pictures of that size (MNIST)."""
    return 28 if native is not None and list(native) == [28, 28] else 32


@register(channels=1, size=_size)
def lenet5(**kwargs: Any) -> LeNet5:
    """:class:`LeNet5`."""
    return LeNet5(**kwargs)


@register(channels=1, size=28)
def lenet_caffe(**kwargs: Any) -> LeNetCaffe:
    """:class:`LeNetCaffe`."""
    return LeNetCaffe(**kwargs)
