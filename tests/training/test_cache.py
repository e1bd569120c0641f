"""Tensors kept on disk: made once, bounded, and never a reason to fail."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from vidcomp.training.cache import TensorCache, digest_of, file_key

KIB = {"0": torch.arange(256, dtype=torch.float32)}  # 1,024 bytes and a short header


class Maker:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, torch.Tensor]:
        self.calls += 1
        return KIB


def test_what_is_kept_is_made_once_and_survives_damage(tmp_path: Path) -> None:
    make = Maker()
    for _ in range(2):
        assert torch.equal(TensorCache(digest_of({"a": 1}), 1e6, tmp_path).get("x", make)["0"], KIB["0"])
    assert make.calls == 1
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(TensorCache(digest_of({"a": 1}), 1e6, tmp_path).get("x", make)["0"], KIB["0"])
    assert make.calls == 2


def test_the_bound_holds_and_what_has_no_room_is_made_anew(tmp_path: Path) -> None:
    make = Maker()
    cache = TensorCache(digest_of({}), 2500, tmp_path)
    for key in "abc":
        cache.get(key, make)
    assert ("a" in cache, "b" in cache, "c" in cache, cache.turned_away) == (True, True, False, 1)
    cache.get("c", make)
    assert (make.calls, cache.turned_away) == (4, 2)
    nothing = TensorCache(digest_of({"none": 0}), 0, tmp_path)
    nothing.get("a", make)
    assert "a" not in nothing


def test_kinds_unused_for_longest_make_room_and_nothing_else_is_touched(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.jpg").write_bytes(bytes(100))
    for number, name in enumerate(("old", "newer")):
        TensorCache(digest_of({"kind": name}), 1e6, tmp_path).get("x", Maker())
        (folder,) = [path for path in tmp_path.glob("vidcomp-*") if digest_of({"kind": name})[:32] in path.name]
        os.utime(folder, (number, number))
    cache = TensorCache(digest_of({"kind": "now"}), 2900, tmp_path)
    cache.get("x", Maker())
    assert "x" in cache
    assert "x" not in TensorCache(digest_of({"kind": "old"}), 0, tmp_path)
    assert "x" in TensorCache(digest_of({"kind": "newer"}), 0, tmp_path)
    assert (tmp_path / "holiday" / "photo.jpg").exists()


def test_a_changed_file_has_another_key(tmp_path: Path) -> None:
    file = tmp_path / "a.mp4"
    file.write_bytes(b"one")
    before = file_key(str(file))
    assert file_key(str(file)) == before
    file.write_bytes(b"three")
    assert file_key(str(file)) != before
