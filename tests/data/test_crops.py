"""Padding, crops, flips and erasing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nnlab
from nnlab.data import sample_rng
from nnlab.data import transforms as T
from nnlab.data.transforms.affine import warp
from nnlab.errors import ArgumentError, DtypeError, ShapeError


def numbered(h: int, w: int, c: int = 1) -> np.ndarray:
    """Every pixel another value, no zeros."""
    return (np.arange(h * w * c, dtype=np.float32) + 1).reshape(h, w, c)


def drawn(transform: T.Transform, image: np.ndarray, count: int = 200) -> list[np.ndarray]:
    return [transform(image, sample_rng(0, 0, i)) for i in range(count)]


RANDOM: list[T.Transform] = [
    T.RandomCrop(6),
    T.RandomCrop((5, 4), padding=(1, 2, 3, 0), padding_mode="reflect"),
    T.RandomCrop(20, pad_if_needed=True, fill=7),
    T.RandomResizedCrop((5, 6)),
    T.RandomHorizontalFlip(),
    T.RandomVerticalFlip(0.3),
    T.RandomErasing(value="random"),
    T.RandomErasing(value=(1, 2, 3)),
    T.RandomRotation(30),
    T.RandomAffine(10, (0.1, 0.2), (0.8, 1.2), 5),
    T.ColorJitter(0.4, 0.4, 0.4, 0.1),
    T.PCANoise(),
    T.Compose([T.RandomHorizontalFlip(), T.ToFloat(), T.RandomErasing(), T.TenCrop(4), T.Normalize([0] * 3, [1] * 3)]),
]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("transform", RANDOM, ids=lambda t: type(t).__name__)
def test_a_batch_is_its_images(transform: T.Transform, dtype: type) -> None:
    """Bit for bit, nothing changed in place, and the result a function of the sample alone."""
    images = np.random.default_rng(2).integers(0, 256, (9, 11, 9, 3), dtype=np.uint8)
    images = images if dtype is np.uint8 else images.astype(np.float32) / 255
    before = images.copy()
    together = transform.batch(images, [sample_rng(1, 2, i) for i in range(9)])
    np.testing.assert_array_equal(images, before)
    for i, image in enumerate(images):
        np.testing.assert_array_equal(transform(image, sample_rng(1, 2, i)), together[i])
    assert not all(np.array_equal(together[0], other) for other in together[1:])
    if not isinstance(transform, T.Compose):
        assert together.dtype == dtype


def test_without_a_generator_the_default_one_draws() -> None:
    image = numbered(8, 8)
    results = []
    for _ in range(2):
        nnlab.manual_seed(5)
        results.append([T.RandomCrop(4)(image) for _ in range(5)])
    np.testing.assert_array_equal(results[0], results[1])
    assert len({crop.tobytes() for crop in results[0]}) > 1


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 3), st.integers(0, 10**6))
def test_random_crop_is_a_window_of_the_padded_image(h: int, w: int, padding: int, index: int) -> None:
    image = numbered(6, 7)
    crop = T.RandomCrop((h, w), padding=padding)(image, sample_rng(0, 0, index))
    padded = np.pad(image, [(padding, padding), (padding, padding), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (h, w), axis=(0, 1))[:, :, 0]
    assert any(np.array_equal(crop[:, :, 0], window) for row in windows for window in row)


def test_random_crop_finds_every_place_equally_often() -> None:
    image = numbered(5, 6)
    corners = [int(crop[0, 0, 0]) for crop in drawn(T.RandomCrop((4, 4)), image, 3000)]
    values, counts = np.unique(corners, return_counts=True)
    assert values.tolist() == [1, 2, 3, 7, 8, 9]
    assert ((counts - 500) ** 2 / 500).sum() < 20.5  # chi-squared, 5 degrees of freedom, 0.1 % level


def test_random_crop_of_small_images() -> None:
    with pytest.raises(ShapeError, match=r"\[RandomCrop\] 'size' must fit the padded image \(3, 9, 1\), got \(4, 4\)"):
        T.RandomCrop(4)(numbered(3, 9), sample_rng(0, 0, 0))
    assert T.RandomCrop(4, pad_if_needed=True)(numbered(3, 3), sample_rng(0, 0, 0)).shape == (4, 4, 1)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10**6))
def test_random_resized_crop_keeps_to_its_ranges(h: int, w: int, index: int) -> None:
    transform = T.RandomResizedCrop(4, scale=(0.2, 0.5), ratio=(0.5, 2))
    top, left, height, width = transform.draw(sample_rng(0, 0, index), (h, w, 3))
    assert 0 <= top <= h - height
    assert 0 <= left <= w - width
    assert height > 0
    assert width > 0
    if min(h, w) > 10 and 0.5 <= w / h <= 2:  # large enough that rounding matters little and the first tries succeed
        assert 0.1 < height * width / (h * w) < 0.62
        assert 0.4 < width / height < 2.5


def test_random_resized_crop_falls_back_to_the_centre() -> None:
    transform = T.RandomResizedCrop(4, scale=(1, 1), ratio=(3 / 4, 4 / 3))
    assert transform.draw(sample_rng(0, 0, 0), (10, 100, 3)) == (0, 43, 10, 13)
    assert transform.draw(sample_rng(0, 0, 0), (100, 9, 3)) == (44, 0, 12, 9)


def test_random_resized_crop_of_everything_is_a_resize() -> None:
    image = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    transform = T.RandomResizedCrop(5, scale=(1, 1), ratio=(1, 1))
    np.testing.assert_array_equal(transform(image, sample_rng(0, 0, 0)), T.Resize((5, 5))(image))


@pytest.mark.parametrize(("transform", "axis"), [(T.RandomHorizontalFlip, 1), (T.RandomVerticalFlip, 0)])
def test_flips(transform: Any, axis: int) -> None:
    image = numbered(3, 4, 3)
    np.testing.assert_array_equal(transform(1)(image, sample_rng(0, 0, 0)), np.flip(image, axis))
    np.testing.assert_array_equal(transform(0)(image, sample_rng(0, 0, 0)), image)
    flipped = sum(not np.array_equal(result, image) for result in drawn(transform(0.3), image, 1000))
    assert 245 < flipped < 355


def test_pad() -> None:
    image = numbered(2, 3)
    assert T.Pad(1)(image)[:, :, 0].tolist() == [[0] * 5, [0, 1, 2, 3, 0], [0, 4, 5, 6, 0], [0] * 5]
    assert T.Pad((1, 0), fill=9)(image)[:, :, 0].tolist() == [[9, 1, 2, 3, 9], [9, 4, 5, 6, 9]]
    assert T.Pad((0, 1, 2, 0), padding_mode="edge")(image)[:, :, 0].tolist() == [[1, 2, 3, 3, 3]] * 2 + [
        [4, 5, 6, 6, 6]
    ]
    assert T.Pad((1, 0), padding_mode="reflect")(image)[0, :, 0].tolist() == [2, 1, 2, 3, 2]
    with pytest.raises(ArgumentError, match="padding"):
        T.Pad((1, 2, 3))
    with pytest.raises(ArgumentError, match="padding_mode"):
        T.Pad(1, padding_mode="wrap")


def test_centre_crop() -> None:
    image = numbered(4, 5)
    assert T.CenterCrop(2)(image)[:, :, 0].tolist() == [[8, 9], [13, 14]]  # (5 - 2) / 2 rounds to the even 2
    assert T.CenterCrop((2, 7))(image)[:, :, 0].tolist() == [[0, 6, 7, 8, 9, 10, 0], [0, 11, 12, 13, 14, 15, 0]]


def test_five_and_ten_crops() -> None:
    image = numbered(4, 4)
    five = T.FiveCrop(2)(image)[..., 0]
    assert five.tolist() == [
        [[1, 2], [5, 6]],
        [[3, 4], [7, 8]],
        [[9, 10], [13, 14]],
        [[11, 12], [15, 16]],
        [[6, 7], [10, 11]],
    ]
    ten = T.TenCrop(2)(image)[..., 0]
    np.testing.assert_array_equal(ten[:5], five)
    assert ten[5].tolist() == [[4, 3], [8, 7]]
    assert ten[9].tolist() == [[7, 6], [11, 10]]
    assert T.TenCrop(2, vertical_flip=True)(image)[5, :, :, 0].tolist() == [[13, 14], [9, 10]]
    with pytest.raises(ShapeError, match=r"\[TenCrop\].*\(4, 4\), got \(5, 5\)"):
        T.TenCrop(5)(image)
    with pytest.raises(ShapeError, match=r"\[RandomCrop\].*several crops"):
        T.Compose([T.TenCrop(3), T.RandomCrop(2)])(image, sample_rng(0, 0, 0))


def test_random_erasing() -> None:
    image = numbered(20, 30, 3)
    results = drawn(T.RandomErasing(p=0.7, scale=(0.1, 0.2), ratio=(0.5, 2)), image, 400)
    changed = [result for result in results if not np.array_equal(result, image)]
    assert 250 < len(changed) < 310
    for result in changed:
        rows, columns, _ = np.nonzero(result == 0)
        h, w = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert (result == 0).sum() == h * w * 3  # one full rectangle, all channels
        assert 0.07 < h * w / 600 < 0.24
        assert 0.35 < h / w < 2.9
    filled = T.RandomErasing(p=1, value=(1, 2, 3))(np.zeros((9, 9, 3), np.uint8), sample_rng(0, 0, 1))
    assert set(map(tuple, filled.reshape(-1, 3).tolist())) == {(0, 0, 0), (1, 2, 3)}
    noise = T.RandomErasing(p=1, scale=(0.3, 0.3), value="random")(
        np.zeros((99, 99, 3), np.float32), sample_rng(0, 0, 1)
    )
    assert abs(noise[noise != 0].std() - 1) < 0.05
    with pytest.raises(ArgumentError, match="value"):
        T.RandomErasing(value="black")


def test_quarter_turns() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    for turns in range(4):
        result = T.RandomRotation((90 * turns, 90 * turns), "bilinear")(image, sample_rng(0, 0, 0))
        np.testing.assert_array_equal(result, np.rot90(image, turns))  # both counter-clockwise


def test_shift_and_zoom_of_warp() -> None:
    image = numbered(4, 5)
    shifted = warp(image, np.array([[1, 0, -1], [0, 1, 2]], float), fill=-1)  # content moves 1 right, 2 up
    np.testing.assert_array_equal(shifted[:2, 1:], image[2:, :-1])
    assert (shifted[2:] == -1).all()
    assert (shifted[:, 0] == -1).all()
    halfway = warp(image, np.array([[1, 0, 0.25], [0, 1, 0]], float))
    np.testing.assert_allclose(halfway[:, :-1], image[:, :-1] + 0.25)
    zoomed = warp(image[:3, :3], np.array([[0.5, 0, 0], [0, 0.5, 0]]))
    assert zoomed[:, :, 0].tolist() == [[4, 4.5, 5], [6.5, 7, 7.5], [9, 9.5, 10]]


def test_affine_draws_within_its_ranges() -> None:
    transform = T.RandomAffine((-10, 20), translate=(0.5, 0.25), scale=(0.5, 2), shear=(0, 0))
    for i in range(200):
        inverse = transform.draw(sample_rng(0, 0, i), (40, 60, 3))
        forward = np.linalg.inv(inverse[:, :2])
        zoom = np.sqrt(np.linalg.det(forward))
        angle = np.degrees(np.arctan2(forward[0, 1], forward[0, 0]))
        shift = -forward @ inverse[:, 2]
        assert 0.5 <= zoom <= 2
        assert -10 - 1e-9 <= angle <= 20 + 1e-9
        assert abs(shift[0]) <= 30 + 1e-9
        assert abs(shift[1]) <= 10 + 1e-9


def test_affine_refuses() -> None:
    with pytest.raises(ArgumentError, match="translate"):
        T.RandomAffine(0, translate=(2, 0))
    with pytest.raises(ArgumentError, match=r"\[RandomRotation\] 'degrees'"):
        T.RandomRotation((20, 10))
    with pytest.raises(ArgumentError, match="scale"):
        T.RandomAffine(0, scale=(0, 1))


def test_images_are_checked() -> None:
    with pytest.raises(ShapeError, match=r"\[CenterCrop\] 'image'.*\(3, 8, 8\)"):
        T.CenterCrop(2)(np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(DtypeError, match="float64"):
        T.CenterCrop(2)(np.zeros((8, 8, 3)))
    assert T.CenterCrop(2)(np.zeros((8, 8), np.uint8)).shape == (2, 2, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: T.RandomHorizontalFlip(1.5),
        lambda: T.RandomResizedCrop(3, scale=(0.5, 0.2)),
        lambda: T.RandomErasing(ratio=(0, 1)),
        lambda: T.RandomCrop((1, 0)),
    ],
)
def test_bad_arguments(make: Any) -> None:
    with pytest.raises(ArgumentError, match="must be"):
        make()


def test_compose_takes_functions() -> None:
    transform = T.Compose([lambda image: 255 - image, T.ToFloat()])
    assert not transform.random
    assert transform(np.full((2, 2, 1), 255, np.uint8)).max() == 0
    assert repr(transform) == "Compose(Lambda, ToFloat)"
