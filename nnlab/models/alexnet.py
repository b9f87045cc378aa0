"""AlexNet, in its widely used one-tower form and in the form of the 2012 paper."""

from __future__ import annotations

from typing import Any

from nnlab import nn
from nnlab.autograd import Tensor
from nnlab.errors import ArgumentError, complaint
from nnlab.models.registry import check_size, register
from nnlab.nn import init


class AlexNet(nn.Module):
    """One tower without normalisation; parameter names as in torchvision.

    Args:
        num_classes: number of outputs.
        dropout: probability of dropout before both hidden dense layers.
        in_channels: channels of the images.
        image_size: side of the images, for checking only: any size from 63 works.

    Input (N, in_channels, H, W), 224 x 224 as published; output (N, num_classes). 61,100,840 parameters with
    1000 classes.
    Source: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv:1404.5997.
    """

    def __init__(
        self, num_classes: int = 1000, dropout: float = 0.5, in_channels: int = 3, image_size: int | None = None
    ) -> None:
        super().__init__()
        check_size("alexnet", image_size, 63)
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, kernel_size=11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Dropout(p=dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class AlexNet2012(nn.Module):
    """The network of the 2012 paper: two towers as grouped convolutions, response normalisation, overlapping pooling.

    The two towers (one a GPU then) are the two groups of conv2, conv4 and conv5; conv3 and the dense layers see both.
    Normalisation runs over all channels of both towers, with the paper's k = 2, n = 5, alpha = 1e-4, beta = 0.75 (the
    layer divides alpha by n, so it is given 5e-4).

    Args:
        num_classes: number of outputs.
        dropout: probability of dropout before both hidden dense layers.
        in_channels: channels of the images.
        image_size: side of the images. 224 (default) is what the paper names; the first convolution then pads by 2 to
            come to the paper's 55 x 55 positions. 227 is the size of which that is true without padding, and what
            Caffe's weights expect.

    Input (N, in_channels, H, W); output (N, num_classes). 60,965,224 parameters with 1000 classes. Weights start normal
    with deviation 0.01, biases at 1 in conv2, conv4, conv5 and the hidden dense layers, else at 0.
    Source: Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", NIPS 2012.
    """

    def __init__(
        self, num_classes: int = 1000, dropout: float = 0.5, in_channels: int = 3, image_size: int = 224
    ) -> None:
        super().__init__()
        check_size("alexnet2012", image_size, 195)
        if image_size > 227:
            raise ArgumentError(complaint("alexnet2012", "image_size", "be at most 227", image_size))
        padding = 0 if image_size == 227 else 2
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 96, kernel_size=11, stride=4, padding=padding),
            nn.ReLU(),
            nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(96, 256, kernel_size=5, padding=2, groups=2),
            nn.ReLU(),
            nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(256, 384, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 384, kernel_size=3, padding=1, groups=2),
            nn.ReLU(),
            nn.Conv2d(384, 256, kernel_size=3, padding=1, groups=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Dropout(p=dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, num_classes),
        )
        ones = {"features.4", "features.10", "features.12", "classifier.1", "classifier.4"}
        for path, layer in self.named_modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                init.normal_(layer.weight, std=0.01)
                assert layer.bias is not None
                init.constant_(layer.bias, 1.0 if path in ones else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


@register(channels=3, size=224)
def alexnet(**kwargs: Any) -> AlexNet:
    """:class:`AlexNet`, torchvision's."""
    return AlexNet(**kwargs)


@register(channels=3, size=224)
def alexnet2012(**kwargs: Any) -> AlexNet2012:
    """:class:`AlexNet2012`, the paper's."""
    return AlexNet2012(**kwargs)
