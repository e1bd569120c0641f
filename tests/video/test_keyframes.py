"""Key frames alone: which they are, when they are shown, and what is said where they are few."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import clips
from vidcomp.video import DecodeOptions, DecodeReport, DecodeWorker, Frames, Selection, VideoError, open_reader

KEYS = Selection(keys=True)
EVERY_12 = {"g": "12", "sc_threshold": "0"}


def read(path: Path, selection: Selection = KEYS) -> tuple[Frames, DecodeReport]:
    with open_reader(str(path), DecodeOptions(selection=selection)) as reader:
        (chunk,) = reader.chunks()
        assert isinstance(chunk, Frames)
        return chunk, reader.report


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {**EVERY_12, "bf": "0"}),
        ("b.mkv", "libx264", {**EVERY_12, "bf": "3"}),
        ("open.mp4", "libx264", {**EVERY_12, "bf": "3", "x264-params": "open-gop=1:b-adapt=0"}),
        ("c.avi", "mpeg4", {"g": "12", "bf": "2"}),
        ("d.ts", "mpeg2video", {"g": "12", "bf": "2", "sc_threshold": "1000000000"}),
        ("e.webm", "libvpx-vp9", {"g": "12", "deadline": "realtime", "cpu-used": "8"}),
    ],
)
def test_they_are_the_frames_that_they_are_among_all(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    path = clips.make_clip(tmp_path / name, 40, codec=codec, options=options)
    found, report = read(path)
    numbers = found.indices.tolist()
    assert 3 <= len(numbers) <= 5
    assert clips.numbers(found.pixels) == numbers
    with open_reader(str(path), DecodeOptions(selection=Selection(indices=tuple(numbers)))) as reader:
        (same,) = reader.chunks()
    np.testing.assert_array_equal(found.pixels, same.pixels)
    np.testing.assert_allclose(found.seconds, same.seconds, atol=1e-6)
    assert (report.decoded, report.used, report.notes) == (len(numbers), len(numbers), ())
    assert report.duration_s == pytest.approx(40 / 25, abs=0.05)


@pytest.mark.parametrize(
    ("codec", "apart", "options"),
    [
        # Farther apart than the counters of their order can tell (16 and 128).
        ("libx264", 30, {"x264-params": "open-gop=1:b-adapt=0:bframes=3:b-pyramid=normal"}),
        ("libx265", 200, {"preset": "ultrafast", "x265-params": "open-gop=1:bframes=3:log-level=none"}),
    ],
)
def test_those_of_open_groups_come_in_order_however_far_apart(
    tmp_path: Path, codec: str, apart: int, options: dict[str, str]
) -> None:
    options = {"g": str(apart), "keyint_min": str(apart), "sc_threshold": "0", **options}
    path = clips.make_clip(tmp_path / "a.mp4", 3 * apart + 5, codec=codec, options=options)
    found, report = read(path, Selection(1, keys=True))
    assert found.indices.tolist() == clips.numbers(found.pixels) == [0, apart, 2 * apart, 3 * apart]
    np.testing.assert_allclose(found.seconds, found.indices / 25, atol=1e-6)
    assert report.decoded == 4
    assert report.duration_s == pytest.approx((3 * apart + 5) / 25, abs=0.1)


def test_numbers_and_times_go_on_where_stamps_start_anew(tmp_path: Path) -> None:
    parts = [
        clips.make_clip(tmp_path / f"{size[0]}.ts", 30, size=size, first=first, options={**EVERY_12, "bf": "0"})
        for first, size in ((0, (128, 96)), (30, (96, 128)))
    ]
    both = tmp_path / "both.ts"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    found, report = read(both)
    assert found.indices.tolist() == clips.numbers(found.pixels) == [0, 12, 24, 30, 42, 54]
    np.testing.assert_allclose(found.seconds - found.seconds[0], found.indices / 25, atol=1e-3)
    assert report.duration_s == pytest.approx(60 / 25, abs=0.05)


def test_frames_before_the_first_do_not_count(tmp_path: Path) -> None:
    options = {**EVERY_12, "bf": "0", "x264-params": "repeat-headers=1"}
    whole = clips.make_clip(tmp_path / "a.ts", 60, options=options).read_bytes()
    (tmp_path / "b.ts").write_bytes(whole[len(whole) // 4 // 188 * 188 :])
    numbers = clips.numbers(read(tmp_path / "b.ts")[0].pixels)
    assert 0 < numbers[0] < 30
    assert read(tmp_path / "b.ts")[0].indices.tolist() == [number - numbers[0] for number in numbers]


def test_those_closer_than_the_stride_are_left_out(tmp_path: Path) -> None:
    path = clips.make_clip(tmp_path / "a.avi", 20, codec="mpeg4", options={"g": "1"})
    assert read(path, Selection(8, keys=True))[0].indices.tolist() == [0, 8, 16]
    assert read(path, Selection(1, fps=5.0, keys=True))[0].indices.tolist() == [0, 5, 10, 15]
    assert read(path, Selection(2, fps=5.0, keys=True))[0].indices.tolist() == [0, 10]


@pytest.mark.parametrize(("name", "codec", "pixel_format"), [("a.mp4", "libx264", "yuv420p"), ("b.gif", "gif", "rgb8")])
def test_a_single_one_is_said_to_be_little(tmp_path: Path, name: str, codec: str, pixel_format: str) -> None:
    options = {"g": "250", "sc_threshold": "0"} if codec == "libx264" else {}
    path = clips.make_clip(tmp_path / name, 30, codec=codec, pixel_format=pixel_format, options=options)
    found, report = read(path)
    assert found.indices.tolist() == [0]
    assert report.notes == ("a single key frame in 1.2 s: what lies between was not looked at",)


def test_nothing_is_said_of_a_video_of_one_frame(tmp_path: Path) -> None:
    assert read(clips.make_clip(tmp_path / "a.mp4", 1))[1].notes == ()


def test_a_decoding_process_reads_the_same(tmp_path: Path) -> None:
    path = clips.make_clip(tmp_path / "a.mp4", 40, options=EVERY_12)
    with DecodeWorker() as worker, worker.open(str(path), DecodeOptions(selection=KEYS)) as reader:
        (found,) = reader.chunks()
    assert clips.numbers(found.pixels) == found.indices.tolist() == [0, 12, 24, 36]
    assert reader.report.decoder == "pyav"


def test_what_has_none_to_show_is_an_error(tmp_path: Path) -> None:
    whole = clips.make_clip(tmp_path / "a.mp4", 40, options={"g": "40", "sc_threshold": "0", "bf": "0"})
    trimmed = clips.copy_from(whole, tmp_path / "b.mp4", 10)
    with pytest.raises(VideoError, match="another strategy") as caught:
        read(trimmed)
    assert caught.value.kind == "decode_failed"
    with pytest.raises(VideoError) as caught:
        read(clips.cut(whole, tmp_path / "c.mp4", 0.1))
    assert caught.value.kind == "truncated"


def test_they_are_not_chosen_by_numbers() -> None:
    with pytest.raises(ValueError, match="not both"):
        Selection(indices=(1,), keys=True)
