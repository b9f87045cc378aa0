"""VGG networks, and a small one of their kind for small images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnlab import nn
from nnlab.autograd import Tensor
from nnlab.errors import ArgumentError, complaint
from nnlab.models.registry import check_size, register
from nnlab.nn import init

# Output channels of each 3 x 3 convolution; "M" is a max pooling by 2.
CONFIGURATIONS: dict[str, tuple[int | str, ...]] = {
    "vgg11": (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg13": (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg16": (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
    "vgg19": (64, 64, "M", 128, 128, "M", *(256,) * 4, "M", *(512,) * 4, "M", *(512,) * 4, "M"),
}


def convolutions(configuration: Sequence[int | str], in_channels: int, batch_norm: bool) -> nn.Sequential:
    """3 x 3 convolutions with ReLU (and batch normalisation between), and pooling, as a configuration says."""
    layers: list[nn.Module] = []
    for entry in configuration:
        if isinstance(entry, str):
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
            continue
        layers.append(nn.Conv2d(in_channels, entry, kernel_size=3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(entry))
        layers.append(nn.ReLU())
        in_channels = entry
    return nn.Sequential(*layers)


def initialise(network: nn.Module) -> None:
    """He-normal convolutions (fan_out), normal dense layers with deviation 0.01, biases 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            init.normal_(layer.weight, 0, 0.01)
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
            init.zeros_(layer.bias)


class VGG(nn.Module):
    """VGG; parameter names and initial values as in torchvision.

    Args:
        configuration: one of CONFIGURATIONS.
        batch_norm: batch normalisation after each convolution.
        num_classes: number of outputs.
        init_weights: values by :func:`initialise`; otherwise the layers' own.
        dropout: probability of dropout after both hidden dense layers.
        in_channels: channels of the images.
        image_size: side of the images, for checking only: any size from 32 works.

    Input (N, in_channels, H, W), 224 x 224 as published; output (N, num_classes). With 1000 classes
    vgg11/13/16/19 have 132,863,336 / 133,047,848 / 138,357,544 / 143,667,240 parameters.
    Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015.
    """

    def __init__(
        self,
        configuration: str,
        batch_norm: bool = False,
        num_classes: int = 1000,
        init_weights: bool = True,
        dropout: float = 0.5,
        in_channels: int = 3,
        image_size: int | None = None,
    ) -> None:
        super().__init__()
        check_size(configuration, image_size, 32)
        if configuration not in CONFIGURATIONS:
            must = f"be one of {', '.join(CONFIGURATIONS)}"
            raise ArgumentError(complaint("VGG", "configuration", must, configuration))
        self.features = convolutions(CONFIGURATIONS[configuration], in_channels, batch_norm)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(p=dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(p=dropout),
            nn.Linear(4096, num_classes),
        )
        if init_weights:
            initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class VGGSmall(nn.Module):
    """A VGG for images of 8 to 64 pixels: five 3 x 3 convolutions with batch normalisation, and one dense layer.

    Convolutions of 32, 64, 64, 128 and 128 channels, pooling by 2 after the first and the third, adaptive average
    pooling to 2 x 2, dropout, and a dense layer.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        dropout: probability of dropout before the dense layer.
        image_size: side of the images, for checking only: any size from 4 works.

    Input (N, in_channels, H, W); output (N, num_classes). At 28 x 28 one image takes 22 million multiply-adds. Initial
    values by :func:`initialise`.
    """

    def __init__(
        self, num_classes: int = 10, in_channels: int = 1, dropout: float = 0.25, image_size: int | None = None
    ) -> None:
        super().__init__()
        check_size("vgg_small", image_size, 4)
        self.features = convolutions((32, "M", 64, 64, "M", 128, 128), in_channels, batch_norm=True)
        self.avgpool = nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = nn.Sequential(nn.Dropout(p=dropout), nn.Linear(128 * 2 * 2, num_classes))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


@register(channels=3, size=224)
def vgg11(**kwargs: Any) -> VGG:
    """:class:`VGG` with 8 convolutions."""
    return VGG("vgg11", **kwargs)


@register(channels=3, size=224)
def vgg11_bn(**kwargs: Any) -> VGG:
    """:class:`VGG` with 8 convolutions and batch normalisation."""
    return VGG("vgg11", batch_norm=True, **kwargs)


@register(channels=3, size=224)
def vgg13(**kwargs: Any) -> VGG:
    """:class:`VGG` with 10 convolutions."""
    return VGG("vgg13", **kwargs)


@register(channels=3, size=224)
def vgg13_bn(**kwargs: Any) -> VGG:
    """:class:`VGG` with 10 convolutions and batch normalisation."""
    return VGG("vgg13", batch_norm=True, **kwargs)


@register(channels=3, size=224)
def vgg16(**kwargs: Any) -> VGG:
    """:class:`VGG` with 13 convolutions."""
    return VGG("vgg16", **kwargs)


@register(channels=3, size=224)
def vgg16_bn(**kwargs: Any) -> VGG:
    """:class:`VGG` with 13 convolutions and batch normalisation."""
    return VGG("vgg16", batch_norm=True, **kwargs)


@register(channels=3, size=224)
def vgg19(**kwargs: Any) -> VGG:
    """:class:`VGG` with 16 convolutions."""
    return VGG("vgg19", **kwargs)


@register(channels=3, size=224)
def vgg19_bn(**kwargs: Any) -> VGG:
    """:class:`VGG` with 16 convolutions and batch normalisation."""
    return VGG("vgg19", batch_norm=True, **kwargs)


def _small_size(native: Sequence[int] | None) -> int:
    """The pictures' own size up to 64; 64 for larger ones and for a mixture."""
    return 64 if native is None else min(max(native), 64)


@register(channels=1, size=_small_size)
def vgg_small(**kwargs: Any) -> VGGSmall:
    """:class:`VGGSmall`."""
    return VGGSmall(**kwargs)
