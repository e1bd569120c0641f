"""Remembered checksums: computed once, and again whenever there is any doubt."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.tiny_model import make_tiny_model
from vidcomp.zoo import WeightsError, checksums, weights
from vidcomp.zoo.build import load_model
from vidcomp.zoo.weights import fingerprint

OLD = 1_000_000_000_000_000_000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDCOMP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose checksums were computed."""
    names: list[str] = []
    real = checksums.sha256_of

    def noting(path: Path) -> str:
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(checksums, "sha256_of", noting)
    monkeypatch.setattr(weights, "sha256_of", noting)
    return names


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    os.utime(path, ns=(OLD, OLD))
    return path


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, computed: list[str]) -> None:
    file = written(tmp_path / "a", b"one")
    assert [checksums.known_sha256_of(file) for _ in range(3)] == [digest(b"one")] * 3
    assert computed == ["a"]
    os.utime(written(file, b"two"), ns=(OLD + 1, OLD + 1))
    assert checksums.known_sha256_of(file) == digest(b"two")
    written(file, b"three")
    assert checksums.known_sha256_of(file) == digest(b"three")


def test_a_file_that_may_still_be_changing_is_not_remembered(tmp_path: Path, computed: list[str]) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"new")
    for _ in range(2):
        assert checksums.known_sha256_of(file) == digest(b"new")
    assert computed == ["a", "a"]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 1}'])
def test_what_is_not_a_memory_is_none(content: str, tmp_path: Path, cache: Path) -> None:
    cache.mkdir()
    (cache / "checksums.json").write_text(content)
    assert checksums.known_sha256_of(written(tmp_path / "a", b"one")) == digest(b"one")


def test_files_that_are_gone_are_forgotten(tmp_path: Path, cache: Path) -> None:
    for name in ("a", "b"):
        checksums.known_sha256_of(written(tmp_path / name, b"one"))
        (tmp_path / "a").unlink(missing_ok=True)
    assert str(tmp_path / "a") not in (cache / "checksums.json").read_text()
    assert [path.name for path in cache.iterdir()] == ["checksums.json"]


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, cache: Path) -> None:
    cache.write_text("no folder")
    assert checksums.known_sha256_of(written(tmp_path / "a", b"one")) == digest(b"one")


def test_a_model_is_hashed_once_and_verified_always(tmp_path: Path, computed: list[str]) -> None:
    manifest = make_tiny_model(tmp_path)
    file = tmp_path / "tiny.safetensors"
    os.utime(file, ns=(OLD, OLD))
    found = digest(file.read_bytes())
    manifest.write_text(
        manifest.read_text().replace("{file: tiny.safetensors}", f"{{file: {file.name}, sha256: {found}}}")
    )
    for _ in range(2):
        fingerprint(load_model(manifest).manifest)
    assert computed == ["tiny.safetensors"]
    weights.verify(load_model(manifest).manifest)
    assert computed == ["tiny.safetensors"] * 2
    manifest.write_text(manifest.read_text().replace(found, "f" * 64))
    with pytest.raises(WeightsError, match=found):
        load_model(manifest)
