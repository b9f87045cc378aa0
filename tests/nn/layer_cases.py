"""Rows of dense, normalising, convolving, pooling, padding, resampling and reshaping layers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from tests.nn.case import Case, Input, given, normal


def _layer(name: str, shape: tuple[int, ...], *args: Any, kind: str = "normal", **kwargs: Any) -> Case:
    """A row of one input; a layer of n dimensions has no batch where the input has n + 1."""
    dims = re.search(r"(\d)d$", name)
    batch = None if dims and len(shape) == int(dims[1]) + 1 else 0
    return Case(name, (Input(kind, shape),), args, kwargs, batch=batch)


def _alone(name: str, shape: tuple[int, ...], *args: Any, **kwargs: Any) -> Case:
    """The same without a batch, where the shape does not tell."""
    return _layer(name, shape, *args, **kwargs)._replace(batch=None)


DENSE = [
    _layer("Linear", (4, 5), 5, 3),
    _layer("Linear", (2, 4, 5), 5, 3, bias=False),
    _layer("Linear", (5,), 5, 3),
    Case("Bilinear", (normal(4, 3), normal(4, 2)), (3, 2, 5)),
    Case("Bilinear", (normal(3), normal(2)), (3, 2, 5, False)),
    Case("Bilinear", (normal(2, 4, 3), normal(2, 4, 2)), (3, 2, 5)),
    _layer("Identity", (3, 4)),
    _layer("Flatten", (2, 3, 4, 2)),
    _layer("Flatten", (2, 3, 4), 0, 1),
    _layer("Unflatten", (3, 6, 2), 1, (2, 3)),
    _alone("Unflatten", (2, 6), -1, (3, -1)),
    _layer("PixelShuffle", (2, 8, 3, 4), 2),
    _alone("PixelShuffle", (9, 2, 2), 3),
    _layer("PixelShuffle", (2, 3, 4, 3, 1), 2),
    _layer("PixelUnshuffle", (2, 3, 4, 6), 2),
    _layer("PixelUnshuffle", (2, 1, 2, 3, 6), 3),
    _alone("PixelUnshuffle", (1, 4, 6), 2),
    _layer("ChannelShuffle", (2, 6, 3, 4), 2),
    _layer("ChannelShuffle", (2, 6, 3), 3),
]

NORMS = [
    _layer("BatchNorm1d", (5, 4), 4)._replace(batch=0),
    *[
        _layer(f"BatchNorm{n}d", (3, 4, *(5, 2, 3)[:n]), 4, **options)
        for n in (1, 2, 3)
        for options in (
            {},
            {"eps": 0.1, "momentum": None},
            {"momentum": 0.3, "affine": False},
            {"track_running_stats": False},
            {"bias": False},
        )
    ],
    _layer("LayerNorm", (4, 5), 5),
    _layer("LayerNorm", (5,), 5),
    _layer("LayerNorm", (2, 4, 3, 5), (3, 5), eps=0.3),
    _alone("LayerNorm", (2, 4, 3), [2, 4, 3], bias=False),
    _layer("LayerNorm", (2, 3, 5), 5, elementwise_affine=False),
    _layer("RMSNorm", (4, 5), 5),
    _layer("RMSNorm", (2, 3, 5), (3, 5), eps=0.3),
    _layer("RMSNorm", (5,), 5, elementwise_affine=False),
    _layer("GroupNorm", (4, 6), 3, 6),
    _layer("GroupNorm", (2, 4, 5), 1, 4),
    _layer("GroupNorm", (3, 6, 2, 5), 2, 6, eps=0.3),
    _layer("GroupNorm", (3, 6, 2, 5), 6, 6, affine=False),
    _layer("GroupNorm", (2, 4, 2, 3, 2), 2, 4, bias=False),
    *[
        _layer(f"InstanceNorm{n}d", (*batch, 4, *(5, 2, 3)[:n]), 4, **options)
        for n in (1, 2, 3)
        for options, batch in (
            ({}, (3,)),
            ({"affine": True, "eps": 0.3}, (3,)),
            ({"affine": True, "bias": False}, ()),
            ({"track_running_stats": True}, (3,)),
            ({"track_running_stats": True, "momentum": None}, (3,)),
            ({"track_running_stats": True, "affine": True, "momentum": 0.4}, ()),
        )
    ],
    _layer("LocalResponseNorm", (2, 7, 3, 4), 5),
    _layer("LocalResponseNorm", (2, 3, 5), 4, alpha=0.3, beta=0.5, k=2.0),
    _layer("LocalResponseNorm", (2, 4, 2, 3, 2), 3, alpha=0.7),
    _layer("LocalResponseNorm", (2, 3, 4, 5), 3, alpha=0.7, within=True)._replace(peer=False),
]

# With as many channels as tensor cores take.
WIDE_CONVOLUTIONS = [
    _layer("Conv1d", (1, 12, 11), 12, 16, 3),
    _layer("Conv2d", (1, 8, 5, 6), 8, 16, 3),
    _layer("Conv3d", (1, 8, 3, 4, 3), 8, 17, 2),
    _layer("ConvTranspose1d", (1, 16, 6), 16, 12, 3),
    _layer("ConvTranspose2d", (1, 16, 3, 4), 16, 8, 2, stride=2),
    _layer("ConvTranspose3d", (1, 17, 2, 3, 2), 17, 4, 2),
]

CONVOLUTIONS = [
    _layer("Conv1d", (2, 3, 9), 3, 4, 3),
    _layer("Conv1d", (2, 4, 10), 4, 6, 3, stride=2, padding=1, groups=2),
    _layer("Conv1d", (2, 2, 11), 2, 3, 4, dilation=2, bias=False),
    _layer("Conv1d", (2, 2, 8), 2, 3, 3, padding="same", dilation=2),
    _layer("Conv1d", (2, 7), 2, 3, 3),
    _layer("Conv2d", (2, 3, 6, 7), 3, 4, 3),
    _layer("Conv2d", (2, 3, 7, 6), 3, 4, (3, 2), stride=(2, 1), padding=(1, 2)),
    _layer("Conv2d", (2, 4, 5, 5), 4, 8, 3, groups=4, padding=1),
    _layer("Conv2d", (2, 4, 8, 9), 4, 6, (2, 3), groups=2, dilation=(2, 1), stride=2),
    _layer("Conv2d", (2, 3, 6, 7), 3, 4, (3, 5), padding="same"),
    _layer("Conv2d", (2, 3, 8, 7), 3, 4, 3, padding="valid", stride=3),
    _layer("Conv2d", (2, 3, 5, 6), 3, 4, 1, stride=2, bias=False),
    _layer("Conv2d", (3, 6, 5), 3, 4, 3, padding=1),
    _layer("Conv3d", (2, 2, 4, 5, 4), 2, 3, 2),
    _layer("Conv3d", (2, 2, 3, 5, 4), 2, 4, (1, 3, 2), stride=(1, 2, 1), padding=(0, 1, 1), groups=2),
    _layer("Conv3d", (2, 4, 4, 5), 2, 3, 2, dilation=(2, 1, 2), bias=False),
    *[
        _layer(f"Conv{n}d", (2, 2, *(5, 4, 6)[:n]), 2, 3, 3, padding=padding, padding_mode=mode)
        for n in (1, 2, 3)
        for padding in (2, "same")
        for mode in ("reflect", "replicate", "circular")
    ],
    _layer("Conv2d", (2, 5, 6), 2, 3, (2, 3), padding=(0, 1), stride=2, padding_mode="circular"),
    _layer("ConvTranspose1d", (2, 3, 5), 3, 4, 3),
    _layer("ConvTranspose1d", (2, 4, 4), 4, 2, 3, stride=3, padding=1, output_padding=2, groups=2),
    _layer("ConvTranspose1d", (3, 4), 3, 2, 3, bias=False, dilation=2),
    _layer("ConvTranspose2d", (2, 3, 3, 4), 3, 4, 2, stride=2),
    _layer("ConvTranspose2d", (2, 3, 3, 4), 3, 4, 3, stride=2, padding=1, output_padding=1),
    _layer("ConvTranspose2d", (2, 4, 3, 4), 4, 6, (3, 2), stride=(1, 2), dilation=(2, 1), groups=2),
    _layer("ConvTranspose2d", (3, 4, 3), 3, 2, 3, bias=False, dilation=2, output_padding=1),
    _layer("ConvTranspose2d", (2, 3, 4, 4), 3, 2, (2, 3), stride=2)._replace(call={"output_size": (8, 10)}),
    _layer("ConvTranspose3d", (2, 2, 2, 3, 2), 2, 3, 2, stride=2),
    _layer("ConvTranspose3d", (2, 2, 3, 3, 2), 2, 4, (1, 2, 3), padding=(0, 1, 0), groups=2, stride=(1, 2, 2)),
    _layer("ConvTranspose3d", (2, 2, 3, 2), 2, 2, 2, stride=3, dilation=2, output_padding=1, bias=False),
    *WIDE_CONVOLUTIONS,
]


def _windows(name: str, shape: tuple[int, ...], *args: Any, **kwargs: Any) -> Case:
    """Pooling: an input without close calls."""
    return _layer(name, shape, *args, kind="gaps", **kwargs)


def _places(shape: tuple[int, ...], dims: int, size: int) -> Input:
    """Where pooling found its maxima: different places of each plane of so many elements."""
    random, planes = np.random.default_rng(2), int(np.prod(shape[:-dims]))
    rows = [random.permutation(size)[: int(np.prod(shape[-dims:]))] for _ in range(planes)]
    return given(np.array(rows).reshape(shape))


def _samples(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random(shape)


POOLING = [
    _windows("MaxPool1d", (2, 3, 8), 3, stride=2, padding=1),
    _windows("MaxPool1d", (3, 9), 2, dilation=3),
    _windows("MaxPool1d", (2, 3, 8), 3, 2, ceil_mode=True, return_indices=True),
    _windows("MaxPool2d", (2, 3, 6, 7), 2),
    _windows("MaxPool2d", (2, 3, 7, 8), 3, stride=2),
    _windows("MaxPool2d", (2, 3, 6, 7), (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
    _windows("MaxPool2d", (2, 3, 6, 7), 3, stride=2, ceil_mode=True, padding=1),
    _windows("MaxPool2d", (2, 3, 4, 5), 2, return_indices=True, stride=1),
    _windows("MaxPool2d", (3, 5, 5), 2, return_indices=True, ceil_mode=True),
    _windows("MaxPool3d", (2, 2, 4, 5, 4), 2, return_indices=True),
    _windows("MaxPool3d", (2, 3, 4, 5), (1, 2, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
    _windows("MaxPool3d", (2, 2, 5, 4, 5), 2, 2, 0, (1, 1, 2), ceil_mode=True),
    Case("MaxUnpool1d", (normal(2, 3, 4), _places((2, 3, 4), 1, 8)), (2,)),
    Case("MaxUnpool1d", (normal(3, 4), _places((3, 4), 1, 7)), (3, 2, 1), batch=None),
    Case("MaxUnpool2d", (normal(2, 3, 3, 2), _places((2, 3, 3, 2), 2, 24)), (2, 2)),
    Case("MaxUnpool2d", (normal(3, 3, 2), _places((3, 3, 2), 2, 28)), (3,), {"padding": 1}, batch=None),
    Case("MaxUnpool2d", (normal(1, 1, 2, 2), _places((1, 1, 2, 2), 2, 25)), (2, 2), call={"output_size": [5, 5]}),
    Case("MaxUnpool3d", (normal(2, 2, 2, 2, 1), _places((2, 2, 2, 2, 1), 3, 32)), (2,)),
    Case("MaxUnpool3d", (normal(2, 2, 2, 1), _places((2, 2, 2, 1), 3, 16)), (3, 2, (0, 0, 1)), batch=None),
    _windows("AvgPool1d", (2, 3, 8), 3, stride=2, padding=1, count_include_pad=False),
    _windows("AvgPool1d", (3, 7), 2, ceil_mode=True),
    _windows("AvgPool2d", (2, 3, 6, 7), 2),
    _windows("AvgPool2d", (2, 3, 6, 7), 3, stride=2, padding=1),
    _windows("AvgPool2d", (2, 3, 6, 7), 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
    _windows("AvgPool2d", (2, 3, 5, 6), (2, 3), stride=(1, 2), divisor_override=4, ceil_mode=True),
    _windows("AvgPool2d", (3, 4, 5), 2),
    _windows("AvgPool3d", (2, 2, 4, 5, 4), 2, padding=1),
    _windows("AvgPool3d", (2, 3, 4, 5), (1, 2, 2), divisor_override=3),
    _windows("AvgPool3d", (2, 2, 4, 5, 4), 3, 2, 1, True, False),
    _windows("AdaptiveAvgPool1d", (2, 3, 8), 3),
    _windows("AdaptiveAvgPool1d", (3, 7), 4),
    _windows("AdaptiveAvgPool2d", (2, 3, 5, 6), 1),
    _windows("AdaptiveAvgPool2d", (2, 3, 4, 5), (6, 6)),
    _windows("AdaptiveAvgPool2d", (3, 5, 7), (None, 2)),
    _windows("AdaptiveAvgPool3d", (2, 2, 4, 5, 3), (2, 3, 2)),
    _windows("AdaptiveAvgPool3d", (2, 4, 5, 3), (None, 3, 1)),
    _windows("AdaptiveMaxPool1d", (2, 3, 8), 3, return_indices=True),
    _windows("AdaptiveMaxPool1d", (3, 7), 4),
    _windows("AdaptiveMaxPool2d", (2, 3, 5, 6), (3, 2)),
    _windows("AdaptiveMaxPool2d", (3, 5, 4), (2, None), return_indices=True),
    _windows("AdaptiveMaxPool3d", (2, 2, 4, 5, 3), 2),
    _windows("AdaptiveMaxPool3d", (2, 4, 5, 3), (2, 3, None), return_indices=True),
    *[
        _layer(f"LPPool{n}d", (2, 3, *(6, 5, 4)[:n]), p, 3, 2, kind="positive", ceil_mode=ceil)
        for n in (1, 2, 3)
        for p in (1, 2, 3.5)
        for ceil in (False, True)
    ],
    _layer("LPPool1d", (3, 7), 2, 3, kind="positive"),
    _layer("LPPool2d", (3, 6, 5), 4, (3, 2), kind="positive", stride=(2, 1)),
    _layer("LPPool3d", (2, 3, 4, 5), 2, (1, 2, 2), kind="positive"),
    *[
        _windows(
            f"FractionalMaxPool{n}d",
            (*batch, 3, *(6, 7, 5)[:n]),
            2,
            **{name: value[:n] if isinstance(value, tuple) else value for name, value in to.items()},
            return_indices=True,
            _random_samples=_samples(*(batch or (1,)), 3, n),
        )._replace(batch=None)
        for n in (2, 3)
        for to in ({"output_size": 3}, {"output_ratio": 0.6}, {"output_size": (1, 4, 2)})
        for batch in ((), (4,), (0,))
    ],
]

PADDING = [
    *[
        _layer(f"{kind}Pad{n}d", (*batch, 3, *(5, 4, 6)[:n]), padding)
        for kind in ("Zero", "Reflection", "Replication", "Circular")
        for n in (1, 2, 3)
        for padding in (2, (1, 0, 2, 3, 0, 1)[: 2 * n], (-1, 2, 1, -2, 2, 0)[: 2 * n])
        for batch in ((), (2,))
    ],
    *[_layer(f"ConstantPad{n}d", (2, 3, *(5, 4, 6)[:n]), 2, 1.5) for n in (1, 2, 3)],
    *[_alone(f"ConstantPad{n}d", (5, 4, 6)[:n], (1, -2, 0, 3, 1, -1)[: 2 * n], -0.5) for n in (1, 2, 3)],
    _layer("ReplicationPad2d", (2, 3, 4, 5), (7, 9, 8, 6)),
    _layer("CircularPad2d", (2, 3, 4, 5), (5, 5, 4, 4)),
]

RESAMPLING = [
    *[
        _layer("Upsample", (2, 2, *(5, 4, 3)[:n]), mode=mode, **to)
        for n, modes in ((1, ("linear",)), (2, ("bilinear", "bicubic")), (3, ("trilinear",)))
        for mode in (*modes, "nearest", "nearest-exact", "area")
        for to in (
            {"size": 7},
            {"size": (6, 3, 7)[:n]},
            {"scale_factor": 2},
            {"scale_factor": 0.6},
            {"scale_factor": 2.7},
            {"scale_factor": (1.7, 3, 0.7)[:n], "recompute_scale_factor": True},
            {"scale_factor": (1.7, 3, 0.7)[:n]},
        )
    ],
    *[
        _layer("Upsample", (2, 2, *(5, 4, 3)[:n]), mode=mode, align_corners=True, **to)
        for n, mode in ((1, "linear"), (2, "bilinear"), (2, "bicubic"), (3, "trilinear"))
        for to in ({"size": 7}, {"size": 1}, {"scale_factor": 1.7}, {"scale_factor": 0.5})
    ],
    # Sizes that rounding leaves as they are, or doubles.
    _layer("Upsample", (2, 2, 3, 3), scale_factor=1.3),
    _layer("Upsample", (2, 2, 3, 5), scale_factor=1.3, mode="bilinear"),
    _layer("Upsample", (2, 2, 4, 4), scale_factor=2.2),
    _layer("UpsamplingNearest2d", (2, 3, 4, 5), scale_factor=2),
    _layer("UpsamplingNearest2d", (2, 3, 4, 5), (7, 3)),
    _layer("UpsamplingBilinear2d", (2, 3, 4, 5), scale_factor=(2, 1.5)),
    _layer("UpsamplingBilinear2d", (2, 3, 4, 5), 6),
]

FOLDING = [
    _layer("Unfold", (2, 3, 5, 6), 3),
    _layer("Unfold", (2, 3, 5, 6), (2, 3), dilation=(2, 1), padding=(1, 2), stride=(1, 2)),
    _alone("Unfold", (3, 6, 4), 2, 1, 0, 2),
    _layer("Fold", (2, 27, 12), (5, 6), 3),
    _layer("Fold", (2, 18, 20), (5, 6), (2, 3), dilation=(2, 1), padding=(1, 2), stride=(1, 2)),
    _alone("Fold", (12, 4), 4, 2, 1, 0, 2),
]

# Which elements are dropped is a function of the seed and the place; test_dropouts.py compares given the mask.
DROPOUTS = [
    _layer(name, shape, 0.3)._replace(exact=False, peer=False)
    for name, shape in (
        ("Dropout", (4, 6)),
        ("Dropout1d", (4, 6, 5)),
        ("Dropout1d", (6, 5)),
        ("Dropout2d", (4, 6, 2, 3)),
        ("Dropout3d", (4, 6, 2, 1, 2)),
        ("AlphaDropout", (4, 6)),
        ("FeatureAlphaDropout", (4, 6, 3)),
    )
]

LAYERS = DENSE + NORMS + CONVOLUTIONS + POOLING + PADDING + RESAMPLING + FOLDING + DROPOUTS
