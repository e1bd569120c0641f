"""Tests of decoding processes."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="module")
def quick_decoders() -> None:
    """None but true ones."""
