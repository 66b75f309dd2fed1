"""Marks of single parameters."""

from typing import Any

import pytest


def by_hand(*parameters: Any) -> list[Any]:
    """Parameters that guard what those beside them guard in part: `pytest -m proof`, not in CI."""
    return [
        pytest.param(*(one if isinstance(one, tuple) else (one,)), marks=pytest.mark.proof)
        for one in parameters
    ]
