"""What tests of several commands need."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_model import make_tiny_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes no time; its labels mean nothing."""
    return make_tiny_model(tmp_path_factory.mktemp("model"))
