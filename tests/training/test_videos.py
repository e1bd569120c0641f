"""Which videos are trained on, and which folders cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidcomp.training import DataError
from vidcomp.training.videos import TrainingVideo, check_classes, find_training_videos


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_sub_folders_are_classes_in_the_models_order(tmp_path: Path) -> None:
    touch(tmp_path, "run/a.mp4", "jump/b.mp4")
    found = find_training_videos(tmp_path, ("run", "swim", "jump"))
    assert {Path(video.path).name: video.label for video in found.videos} == {"a.mp4": 0, "b.mp4": 2}
    assert (found.classes, found.named) == (("run", "swim", "jump"), ("jump", "run"))
    assert find_training_videos(tmp_path).classes == ("jump", "run")


def test_a_csv_file_names_classes_too(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("path,label\na.mp4,run\nsub/b.mp4,jump\n")
    found = find_training_videos(tmp_path / "l.csv")
    assert [(video.path, video.label) for video in found.videos] == [
        (str(tmp_path / "a.mp4"), 1),
        (str(tmp_path / "sub/b.mp4"), 0),
    ]


def test_videos_without_a_class_and_unknown_classes_are_errors(tmp_path: Path) -> None:
    touch(tmp_path, "run/a.mp4", "c.mp4")
    no_class = r"1 of 2 videos have no class, .*c\.mp4 for one; use a sub-folder per class, or a CSV file of path,label"
    with pytest.raises(DataError, match=f"{no_class}$"):
        find_training_videos(tmp_path)
    with pytest.raises(DataError, match=f"{no_class}, or train the compressor without labels, with teacher=dense30$"):
        find_training_videos(tmp_path, ("run",))
    (tmp_path / "c.mp4").unlink()
    with pytest.raises(DataError, match="run: not among the model's labels"):
        find_training_videos(tmp_path, ("jump",))
    (tmp_path / "run" / "a.mp4").unlink()
    with pytest.raises(DataError, match="no videos"):
        find_training_videos(tmp_path)


def test_a_teacher_needs_no_labels(tmp_path: Path) -> None:
    touch(tmp_path, "run/a.mp4", "january/b.mp4", "c.mp4")
    found = find_training_videos(tmp_path, ("jump", "run"), taught=True)
    assert {Path(video.path).name: video.label for video in found.videos} == {"a.mp4": 1, "b.mp4": None, "c.mp4": None}
    assert found.named == ("run",)
    assert found.notes == ("2 of 3 videos have no label of the model: the teacher alone says theirs",)


def test_a_class_without_a_readable_video_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "run/a.mp4", "jump/b.mp4")
    (tmp_path / "swim").mkdir()
    found = find_training_videos(tmp_path, ("jump", "run", "swim"))
    with pytest.raises(DataError, match="no readable video of jump, swim"):
        check_classes(tmp_path, found, [TrainingVideo("a.mp4", 1)])
    with pytest.raises(DataError, match="none of its 2 videos can be read"):
        check_classes(tmp_path, found, [])
