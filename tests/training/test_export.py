"""Checkpoints: whole or not there, and never taken for those of another training."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from vidcomp.training import TrainingError
from vidcomp.training.export import Checkpoint, Position, writing

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
