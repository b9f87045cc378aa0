"""The device ``emulated`` for a test module; without a C++ compiler the module is skipped."""

from __future__ import annotations

from typing import Any

import pytest

from nnlab.backend import emulated, get_backend


def backend() -> Any:
    """The backend, or a skip of the calling module with the reason."""
    reason = emulated.why_unusable()
    if reason is not None:
        pytest.skip(f"kernels cannot run on this CPU: {reason}", allow_module_level=True)
    return get_backend("emulated")
