from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.output.test_formats import BAD, GOOD
from vidcomp import files
from vidcomp.inference.batch import Job, Unwritable
from vidcomp.inference.prediction import Label, Moment, Window
from vidcomp.output.run import OutputError
from vidcomp.output.subtitles import SubtitleFiles, subtitles

SEGMENTED = replace(
    GOOD,
    windows=(
        Window(0.0, 12.0, (Label("jump <high>", 3, 0.756),)),
        Window(10.0, 22.0, ()),
        Window(3725.5, 3730.25, (Label("run", 1, 0.5),)),
    ),
)


def test_srt() -> None:
    assert subtitles(SEGMENTED, "srt") == (
        "1\n00:00:00,000 --> 00:00:10,000\njump <high> 76%\n\n2\n01:02:05,500 --> 01:02:10,250\nrun 50%\n\n"
    )


def test_vtt() -> None:
    lines = subtitles(SEGMENTED, "vtt").splitlines()
    assert lines[:5] == ["WEBVTT", "", "1", "00:00:00.000 --> 00:00:10.000", "jump &lt;high> 76%"]


def test_windows_of_no_length_and_before_the_clock_starts_have_no_cue() -> None:
    label = (Label("run", 1, 0.5),)
    times = [(-2.0, -1.0), (-1.0, 5.0), (3.0, 5.0), (5.0, 6.0), (5.0, 7.0)]
    prediction = replace(GOOD, windows=tuple(Window(start, end, label) for start, end in times))
    cues = [line for line in subtitles(prediction, "vtt").splitlines() if "-->" in line]
    assert cues == [
        "00:00:00.000 --> 00:00:03.000",
        "00:00:03.000 --> 00:00:05.000",
        "00:00:05.000 --> 00:00:07.000",
    ]


def test_files_beside_the_video_in_a_folder_or_named(tmp_path: Path) -> None:
    job = Job(str(tmp_path / "a" / "x.mp4"), "a/x.mp4")
    SubtitleFiles("srt").write(job, SEGMENTED, None)
    SubtitleFiles("vtt", folder=tmp_path / "out").write(job, SEGMENTED, None)
    SubtitleFiles("srt", file=tmp_path / "one.srt").write(job, SEGMENTED, None)
    SubtitleFiles("srt", file=tmp_path / "none.srt").write(job, BAD, None)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*t"))
    assert files == ["a/x.mp4.vidcomp.srt", "one.srt", "out/a/x.mp4.vidcomp.vtt"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        SubtitleFiles("srt", folder=tmp_path / "file")


@pytest.mark.parametrize("name", ["n" * 247 + ".mp4", "folder.mp4"])
@pytest.mark.parametrize("beside", [True, False])
def test_subtitles_that_cannot_be_written_are_that_videos_error(name: str, beside: bool, tmp_path: Path) -> None:
    (tmp_path / "folder.mp4.vidcomp.srt" / "full").mkdir(parents=True)
    files = SubtitleFiles("srt", folder=None if beside else tmp_path)
    with pytest.raises(Unwritable, match="its subtitles cannot be written to"):
        files.write(Job(str(tmp_path / name), name, root=str(tmp_path)), SEGMENTED, None)
    longest = "n" * (255 - len(".mp4.vidcomp.srt")) + ".mp4"
    files.write(Job(str(tmp_path / longest), longest, root=str(tmp_path)), SEGMENTED, None)
    assert (tmp_path / f"{longest}.vidcomp.srt").is_file()


def test_a_full_disk_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        SubtitleFiles("srt").write(Job(str(tmp_path / "x.mp4"), "x.mp4"), SEGMENTED, None)
    assert list(tmp_path.iterdir()) == []


def test_with_a_folder_all_land_in_it_and_none_replaces_another(tmp_path: Path) -> None:
    out = tmp_path / "out"
    jobs = [
        Job("/A/x.mp4", "/A/x.mp4"),
        Job("A/x.mp4", "A/x.mp4", root="/somewhere"),
        Job("../A/x.mp4", "../A/x.mp4", root="/some/where"),
        Job("/B/x.mp4", "x.mp4", root="/B"),
    ]
    for _ in range(2):
        files = SubtitleFiles("srt", folder=out)
        for job in jobs:
            files.write(job, SEGMENTED, None)
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.srt"))
    expected = ["A/x (2).mp4", "A/x (3).mp4", "A/x.mp4", "x.mp4"]
    assert names == [f"{name}.vidcomp.srt" for name in expected]


def test_windows_in_the_record() -> None:
    record = SEGMENTED.to_dict(5)
    assert record["windows"][2] == {
        "start_s": 3725.5,
        "end_s": 3730.25,
        "labels": [{"label": "run", "index": 1, "probability": 0.5}],
    }
    assert "windows" not in GOOD.to_dict(5)


FOUND = replace(
    GOOD,
    moments=(Moment(3.0, 9.5, Label("jump; <high>", 3, 0.756)), Moment(3725.5, 3730.25, Label("run = 1", 1, 0.5))),
)


def test_moments_are_cues_and_nothing_lies_between() -> None:
    assert subtitles(FOUND, "srt") == (
        "1\n00:00:03,000 --> 00:00:09,500\njump; <high> 76%\n\n2\n01:02:05,500 --> 01:02:10,250\nrun = 1 50%\n\n"
    )
    assert subtitles(replace(FOUND, moments=()), "srt") == ""


def test_chapters_for_ffmpeg() -> None:
    assert subtitles(FOUND, "ffmetadata") == (
        ";FFMETADATA1\n"
        "\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=3000\nEND=9500\ntitle=jump\\; <high> 76%\n"
        "\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=3725500\nEND=3730250\ntitle=run \\= 1 50%\n"
    )


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffprobe")
def test_ffmpeg_reads_the_chapters(tmp_path: Path) -> None:
    file = tmp_path / "x.ffmetadata"
    file.write_text(subtitles(FOUND, "ffmetadata"))
    command = ["ffprobe", "-v", "error", "-f", "ffmetadata", "-show_chapters", "-of", "json", str(file)]
    chapters = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["chapters"]
    assert [(part["start_time"], part["end_time"], part["tags"]["title"]) for part in chapters] == [
        ("3.000000", "9.500000", "jump; <high> 76%"),
        ("3725.500000", "3730.250000", "run = 1 50%"),
    ]
