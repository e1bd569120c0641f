"""Checkpoints: whole or not there, and never taken for those of another training."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from vidcomp.training import TrainingError
from vidcomp.training.config import Paths
from vidcomp.training.export import Checkpoint, Position, export, writing
from vidcomp.zoo.manifest import find_manifest, read_manifest

STATE = {"weights": torch.arange(3)}


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "c.pt", {"model": "a"})
    checkpoint.write(Position(3, 1, 0.5, 2, 4, 1.5, [{"epoch": 3.0}]), STATE)
    position, state = checkpoint.read()
    assert position == Position(3, 1, 0.5, 2, 4, 1.5, [{"epoch": 3.0}])
    assert torch.equal(state["weights"], STATE["weights"])
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


def test_a_failed_write_leaves_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "c.pt"
    file.write_text("before")
    with pytest.raises(TypeError), writing(file, "make room") as stream:
        stream.writelines([b"half", "no bytes"])  # type: ignore[list-item]
    with pytest.raises(TrainingError, match=r"\(No space left on device\); make room"), writing(file, "make room"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert file.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


def test_another_training_and_a_damaged_file_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.pt"
    Checkpoint(file, {"model": "a", "recipe": "r"}).write(Position(), STATE)
    with pytest.raises(TrainingError, match="with another model; give what was given then"):
        Checkpoint(file, {"model": "b", "recipe": "r"}).read()
    torch.save({**torch.load(file), "format": 1}, file)  # as 0.1.0 wrote it
    with pytest.raises(TrainingError, match=r"another version of vidcomp wrote this checkpoint.*overwrite=True"):
        Checkpoint(file, {"model": "a", "recipe": "r"}).read()
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(TrainingError, match="not a checkpoint that this version can read"):
        Checkpoint(file, {"model": "a", "recipe": "r"}).read()


def test_new_compressors_name_their_base_and_no_folder_of_this_machine(tmp_path: Path) -> None:
    shipped = find_manifest("ucf16-lite0")
    (tmp_path / "source").mkdir()
    paths = Paths(source=tmp_path / "source", output=tmp_path / "my.yaml")
    (section,) = shipped.compressors
    fitted = section.model_copy(update={"options": {**section.options, "tau": 4}, "weights": None})
    export(shipped, paths, [{"epoch": 1.0}], "train", summary="mine", compressors=(fitted,))
    written = paths.output.read_text()
    assert "base: ucf16-lite0" in written
    assert str(shipped.origin.parent) not in written
    read = read_manifest(paths.output)
    assert (read.name, read.compressors, read.labels) == ("my", (fitted,), shipped.labels)


def test_alternatives_of_a_base_keep_their_weights(tmp_path: Path) -> None:
    heir = tmp_path / "heir.yaml"
    heir.write_text("name: heir\nsummary: mine\nbase: kinetics400-i3d\n")
    sources = [section.weights for sections in read_manifest(heir).alternatives.values() for section in sections]
    assert sources
    assert all(source is not None and source.path is not None and Path(source.path).is_file() for source in sources)
