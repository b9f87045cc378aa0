"""The handwritten digits that come with scikit-learn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnlab.errors import optional_import


def read_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """1797 grey images 8x8 and their labels; the values 0..16 are scaled to 0..255.

    Returns:
        images uint8 (1797, 8, 8), labels int64 (1797,).

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    datasets = optional_import("sklearn.datasets", extra="demo", purpose="the data set 'digits'")
    digits = datasets.load_digits()
    return np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target.astype(np.int64)
