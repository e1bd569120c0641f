"""Videos with their classes: from folders, from CSV files, and classes that the model does not know."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from vidcomp.video import SourceError
from vidcomp.video.labeled import LabeledVideo, find_labeled, keep_known, read_csv


def test_sub_folders_are_labels_and_plain_files_have_none(tmp_path: Path) -> None:
    for name in ("yes/a.mp4", "yes/deep/b.mp4", "c.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    videos, notes = find_labeled([str(tmp_path), str(tmp_path / "c.mp4")])
    found = {Path(video.path).relative_to(tmp_path).as_posix(): video.label for video in videos}
    assert found == {"yes/a.mp4": "yes", "yes/deep/b.mp4": "yes", "c.mp4": None}
    assert notes == []


def test_csv_paths_are_relative_to_the_file_and_a_heading_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text('path,label\na.mp4,yes\n"with, comma.mp4",no\n\nb.mp4\n/abs/c.mp4,\n')
    assert read_csv(file) == [
        LabeledVideo(str(tmp_path / "a.mp4"), "yes"),
        LabeledVideo(str(tmp_path / "with, comma.mp4"), "no"),
        LabeledVideo(str(tmp_path / "b.mp4")),
        LabeledVideo("/abs/c.mp4"),
    ]


def test_a_bad_line_of_a_csv_is_named(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("a.mp4,yes\nb.mp4,no,really\n")
    with pytest.raises(SourceError, match=r"line 2 is not path,label: b\.mp4,no,really"):
        find_labeled([str(file)])
    with pytest.raises(SourceError, match="cannot be read as a CSV"):
        find_labeled([str(tmp_path / "nowhere.csv")])


def test_labels_that_are_not_the_models_are_told_and_taken_off() -> None:
    videos = [LabeledVideo("a", "yes"), LabeledVideo("b", "maybe"), LabeledVideo("c")]
    kept, notes = keep_known(videos, ("yes", "no"))
    assert kept == [LabeledVideo("a", "yes"), LabeledVideo("b"), LabeledVideo("c")]
    assert notes == ["maybe is not a label of the model: 1 of 3 videos do not count for accuracy"]
    assert keep_known(kept, ("yes", "no")) == (kept, [])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_csv_with_more_columns_in_another_order_and_encoding(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes("split,Label,path\nval,yes,ä.mp4\nval,,b.mp4\n".encode(encoding))
    assert read_csv(file) == [LabeledVideo(str(tmp_path / "ä.mp4"), "yes"), LabeledVideo(str(tmp_path / "b.mp4"))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path;label\na.mp4;yes\n", "line 1 is separated by ;: path;label; separate path,label with a comma"),
        ("a.mp4\tyes\n", "line 1 is separated by tabs"),
        ("video,class\na.mp4,yes\n", "its heading is video,class; name the columns path and label"),
        ("path,label,Path\na.mp4,yes,b.mp4\n", "its heading names the column path more than once"),
        ("path,label,day,day\na.mp4,yes,1,2\n", "its heading names the column day more than once"),
        ("path,split\na.mp4,val\n", "its heading is path,split; name the columns path and label"),
    ],
)
def test_a_csv_of_another_shape_is_told_what_was_found_and_what_is_wanted(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text(text)
    with pytest.raises(SourceError) as caught:
        read_csv(file, "day")
    assert said in str(caught.value).replace("\\t", "\t")


def test_files_whose_names_look_like_a_heading_or_hold_other_separators(tmp_path: Path) -> None:
    (tmp_path / "video").touch()
    (tmp_path / "a;b.mp4").touch()
    file = tmp_path / "list.csv"
    file.write_text("video,class\na;b.mp4\n")
    assert [video.label for video in read_csv(file)] == ["class", None]


def test_marks_within_joined_lists_belong_to_no_name(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes(b"".join(f"{name}.mp4,yes\r\n".encode("utf-8-sig") for name in "abc"))
    assert [Path(video.path).name for video in read_csv(file)] == ["a.mp4", "b.mp4", "c.mp4"]


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text")
def test_labels_are_text_whatever_folders_are_called(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/videos/caf\xe9"))
    folder.mkdir(parents=True)
    (folder / "x.mp4").touch()
    (tmp_path / "list.csv").write_bytes(b"x.mp4,caf\xe9\n")
    for given in (tmp_path / "videos", tmp_path / "list.csv"):
        videos, _ = find_labeled([str(given)])
        assert [video.label for video in videos] == ["caf\\udce9"]
