"""What tests of many machines share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.tiny_model import make_tiny_model


class Bucket(MemoryFileSystem):
    """An object store in memory, under the scheme of a real one."""

    protocol = ("s3",)
    store: dict[str, Any] = {}  # noqa: RUF012 - as fsspec has it
    pseudo_dirs = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        stripped: str = super()._strip_protocol(path.removeprefix("s3://"))
        return stripped


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty store; ``s3://`` leads to it."""
    import fsspec

    monkeypatch.setitem(sys.modules[fsspec.get_filesystem_class.__module__]._registry, "s3", Bucket)
    Bucket.store.clear()
    Bucket.pseudo_dirs[:] = [""]
    return Bucket()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes no time; its labels mean nothing."""
    return make_tiny_model(tmp_path_factory.mktemp("model"))
