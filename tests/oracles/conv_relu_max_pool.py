"""relu of the maxima of 2 x 2 windows, and what they leave of a gradient, one window at a time."""

from __future__ import annotations

import math

import numpy as np


def forward(z) -> tuple[np.ndarray, np.ndarray]:
    """(y, places): the first of equal maxima, the last NaN if there is any; place 4 where y is 0."""
    images, channels, height, width = z.shape
    y = np.zeros((images, channels, height // 2, width // 2))
    places = np.full(y.shape, 4, np.uint8)
    for i in np.ndindex(y.shape):
        window = [z[(*i[:2], 2 * i[2] + k // 2, 2 * i[3] + k % 2)] for k in range(4)]
        nans = [k for k in range(4) if math.isnan(window[k])]
        k = nans[-1] if nans else window.index(max(window))
        if nans or window[k] > 0:
            y[i], places[i] = window[k], k
    return y, places


def backward(dy, places, size: tuple[int, int]) -> np.ndarray:
    dz = np.zeros((*dy.shape[:2], *size))
    for n, c, h, w in np.ndindex(dy.shape):
        k = int(places[n, c, h, w])
        if k < 4:
            dz[n, c, 2 * h + k // 2, 2 * w + k % 2] = dy[n, c, h, w]
    return dz


def gather(dz, places) -> np.ndarray:
    y = np.zeros(places.shape)
    for n, c, h, w in np.ndindex(places.shape):
        k = int(places[n, c, h, w])
        if k < 4:
            y[n, c, h, w] = dz[n, c, 2 * h + k // 2, 2 * w + k % 2]
    return y
