from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests import clips
from vidcomp.video import (
    DecodeOptions,
    DecodeReport,
    DecodeWorker,
    Frames,
    Selection,
    VideoError,
    container,
    decord,
    dense_views,
    needed,
    open_reader,
    rows_of,
    whole,
)
from vidcomp.video.container import MAX_ASPECT
from vidcomp.video.frames import MAX_CHUNK_BYTES
from vidcomp.video.pyav import Clock

DECODERS = ["pyav", pytest.param("decord", marks=pytest.mark.skipif(not decord.available(), reason="no decord"))]


def read(path: Path, **options: Any) -> tuple[Frames, DecodeReport]:
    """All chosen frames of a video in one piece."""
    with open_reader(str(path), DecodeOptions(**options)) as opened:
        chunks = list(opened.chunks())
        joined = Frames(
            *(np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in ("pixels", "seconds", "indices")),
            opened.info,
        )
        return joined, opened.report


def fails(path: Path | str, **options: Any) -> VideoError:
    with pytest.raises(VideoError) as caught:
        open_reader(str(path), DecodeOptions(**options))
    return caught.value


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_frame_comes_once_and_in_order(clip: Path, decoder: str) -> None:
    frames, report = read(clip, decoder=decoder)
    assert clips.numbers(frames.pixels) == list(range(60)) == frames.indices.tolist()
    assert frames.seconds == pytest.approx(np.arange(60) / 25)
    assert report == DecodeReport(decoded=60, used=60, repaired=0, duration_s=pytest.approx(2.4), decoder=decoder)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("stride", [2, 7, 59, 100])
def test_a_stride_is_a_slice(clip: Path, decoder: str, stride: int) -> None:
    every, _ = read(clip, decoder=decoder)
    some, report = read(clip, decoder=decoder, selection=whole(stride))
    assert (some.pixels == every.pixels[::stride]).all()
    assert some.seconds.tolist() == every.seconds[::stride].tolist()
    # A frame stepped over was decoded all the same.
    assert (report.decoded, report.used, report.notes) == (60, len(some), ())


@pytest.mark.parametrize("decoder", DECODERS)
def test_chunks_do_not_change_the_frames(clip: Path, decoder: str) -> None:
    whole_clip, _ = read(clip, decoder=decoder, chunk_frames=1000)
    for chunk_frames in (1, 7, 60):
        with open_reader(str(clip), DecodeOptions(decoder=decoder, chunk_frames=chunk_frames)) as opened:  # type: ignore[arg-type]
            parts = list(opened.chunks())
        assert {len(part) for part in parts[:-1]} <= {chunk_frames}
        assert (np.concatenate([part.pixels for part in parts]) == whole_clip.pixels).all()


@pytest.mark.parametrize("decoder", DECODERS)
def test_views_share_the_frames_they_need(clip: Path, decoder: str) -> None:
    views = dense_views(60, clip_frames=4, stride=3, clips=3)
    frames, report = read(clip, decoder=decoder, selection=needed(views))
    for view in views:
        rows, repeated = rows_of(view, frames.indices)
        assert clips.numbers(frames.pixels[rows]) == list(view.frame_indices)
        assert repeated == 0
    assert report.used == 12


def test_reading_stops_after_the_last_frame_wanted(clip: Path) -> None:
    frames, report = read(clip, selection=Selection(indices=(3, 9)))
    assert clips.numbers(frames.pixels) == [3, 9]
    assert report.decoded == 10
    assert not report.notes


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("short_side", [50, 96, 200])
def test_target_size(clip: Path, decoder: str, short_side: int) -> None:
    frames, _ = read(clip, decoder=decoder, short_side=short_side)
    assert frames.pixels.shape[1:3] == (short_side, 2 * round(short_side * 64 / 96))
    assert clips.numbers(frames.pixels) == list(range(60))


@pytest.mark.parametrize("decoder", DECODERS)
def test_rotation(tmp_path: Path, decoder: str) -> None:
    path = clips.make_clip(tmp_path / "turned.mp4", 9, turned=True)
    frames, _ = read(path, decoder=decoder, short_side=48)
    assert (frames.info.width, frames.info.height, frames.info.rotation) == (128, 96, 270)
    assert frames.pixels.shape == (9, 48, 64, 3)
    assert clips.numbers(frames.pixels) == list(range(9))


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.avi", "mpeg4"),
        ("a.mkv", "ffv1"),
        ("a.mov", "mjpeg"),
        ("a.mpg", "mpeg2video"),
        ("a.ts", "libx264"),
        ("a.webm", "libvpx-vp9"),
        ("a.h264", "libx264"),
        ("a.wmv", "wmv2"),
    ],
)
@pytest.mark.parametrize("decoder", DECODERS)
def test_formats(tmp_path: Path, name: str, codec: str, decoder: str) -> None:
    path = clips.make_clip(tmp_path / name, 12, codec=codec, pixel_format="yuvj420p" if codec == "mjpeg" else "yuv420p")
    frames, report = read(path, decoder=decoder)
    assert clips.numbers(frames.pixels) == list(range(12))
    assert frames.seconds == pytest.approx(np.arange(12) / 25, abs=0.002)
    assert report.repaired == 0
    assert container.describe(str(path), count=True).frame_count == 12


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_variable_rate_keeps_its_timestamps(tmp_path: Path, decoder: str) -> None:
    times = [0, 1, 4, 9, 16, 25, 36]
    frames, _ = read(clips.make_clip(tmp_path / "vfr.mp4", 7, times=times), decoder=decoder)
    assert frames.seconds == pytest.approx(np.array(times) / 25)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(("codec", "options"), [("libx264", {}), ("mpeg4", {"bf": "2"}), ("mpeg4", {})])
def test_avi_tells_no_times_of_presentation(tmp_path: Path, codec: str, options: dict[str, str], decoder: str) -> None:
    """Frames that are coded in another order than they are shown in come evenly all the same."""
    path = clips.make_clip(tmp_path / "a.avi", 37, codec=codec, fps=12, options=options)
    frames, report = read(path, decoder=decoder)
    assert clips.numbers(frames.pixels) == list(range(37))
    assert frames.seconds == pytest.approx(np.arange(37) / 12)
    assert report.duration_s == pytest.approx(37 / 12)
    assert decoder == "decord" or not report.notes


@pytest.mark.parametrize("decoder", DECODERS)
def test_an_edit_list_hides_frames(tmp_path: Path, decoder: str) -> None:
    source = clips.make_clip(tmp_path / "a.mp4", 60, options={"g": "20", "bf": "2"})
    path = clips.copy_from(source, tmp_path / "cut.mp4", 30)
    frames, report = read(path, decoder=decoder)
    assert clips.numbers(frames.pixels) == list(range(30, 60))
    assert frames.seconds == pytest.approx(np.arange(30) / 25)
    assert not [note for note in report.notes if "promises" in note]
    assert container.describe(str(path), count=True).frame_count == 30


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_size_that_changes_midway_comes_as_one(tmp_path: Path, decoder: str) -> None:
    parts = [clips.make_clip(tmp_path / f"{w}.h264", 10, size=(w, h)) for w, h in ((128, 96), (192, 144))]
    path = tmp_path / "changing.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames, _ = read(path, decoder=decoder)
    assert frames.pixels.shape == (20, 96, 128, 3)
    assert clips.numbers(frames.pixels) == [*range(10), *range(10)]


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    return clips.make_clip(path, 200, options={"g": "50"}, container_options={"movflags": "faststart"})


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_cut_file_gives_its_readable_part(long_clip: Path, tmp_path: Path, decoder: str) -> None:
    frames, report = read(clips.cut(long_clip, tmp_path / "cut.mp4", 0.7), decoder=decoder)
    assert 50 < len(frames) < 200
    assert clips.numbers(frames.pixels) == list(range(len(frames)))
    assert f"the file promises 200 frames, {len(frames)} could be read" in report.notes


@pytest.mark.parametrize("decoder", DECODERS)
def test_damage_in_the_middle_is_counted(long_clip: Path, tmp_path: Path, decoder: str) -> None:
    path = clips.damage(long_clip, tmp_path / "damaged.mp4", 0.5, 0.6)
    frames, report = read(path, decoder=decoder)
    assert clips.numbers(frames.pixels)[-1] == 199
    assert frames.seconds[-1] == pytest.approx(199 / 25, abs=0.1)
    assert report.repaired > 0
    assert report.decoder == ("pyav" if decoder == "pyav" else "decord+pyav")
    # PyAV takes over at the right frame: no frame is doubled or left out on the way.
    alone, _ = read(path, decoder="pyav")
    assert frames.seconds.tolist() == alone.seconds.tolist()
    assert clips.numbers(frames.pixels) == clips.numbers(alone.pixels)


def test_no_frame_that_was_asked_for(clip: Path) -> None:
    with (
        open_reader(str(clip), DecodeOptions(selection=Selection(indices=(100,)))) as opened,
        pytest.raises(VideoError, match="only 60 frames") as caught,
    ):
        list(opened.chunks())
    assert caught.value.kind == "truncated"


def test_kinds_of_errors(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello, hello, hello")
    assert fails(tmp_path / "gone.mp4").kind == "missing"
    assert fails(clip / "below-a-file.mp4").kind == "missing"
    assert fails("nul\0.mp4").kind == "missing"
    assert fails(tmp_path).kind == "not_video"
    assert fails(tmp_path / "empty.mp4").kind == "empty"
    assert fails(tmp_path / "text.mp4").kind == "not_video"
    assert fails(clips.make_sound(tmp_path / "sound.m4a")).kind == "no_video_stream"
    assert fails(clips.cut(clip, tmp_path / "cut.mp4", 0.5)).kind == "truncated"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(clip: Path, tmp_path: Path) -> None:
    path = clips.cut(clip, tmp_path / "private.mp4", 1.0)
    path.chmod(0)
    assert fails(path).kind == "unreadable"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert fails(tmp_path / "pipe.mp4").kind == "not_video"


def test_the_pixel_limit_holds_for_source_and_target(clip: Path) -> None:
    assert fails(clip, max_pixels=128 * 96 - 1).kind == "too_large"
    assert fails(clip, max_pixels=128 * 96, short_side=97).kind == "too_large"
    open_reader(str(clip), DecodeOptions(max_pixels=128 * 96)).close()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2.4,\n{clip}\n#EXT-X-ENDLIST\n"),
        ("list.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2.4,\n{clip}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile '{clip}'\n"),
        ("list.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"),
    ],
)
def test_lists_that_name_other_files_are_refused(clip: Path, tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text.format(clip=clip))
    assert fails(path).kind == "not_video"


@pytest.mark.parametrize("name", ["concat:{clip}|{clip}", "file:{clip}", "http://127.0.0.1:9/a.mp4", "pipe:0", "-"])
def test_a_path_is_never_an_address(clip: Path, name: str) -> None:
    assert fails(name.format(clip=clip)).kind == "missing"


@pytest.mark.skipif(sys.platform == "win32", reason="such names cannot be made there")
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", [b"concat:a|b.mp4", b"caf\xe9\n.mp4", b"%03d.mp4", "τ ×.mp4".encode()])
def test_names_of_any_kind(clip: Path, tmp_path: Path, name: bytes, decoder: str) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    path.write_bytes(clip.read_bytes())
    assert len(read(path, decoder=decoder)[0]) == 60


def test_without_decord_pyav_reads(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decord, "available", lambda: False)
    _, report = read(clip, decoder="decord")
    assert report.decoder == "pyav"
    assert "not installed" in report.notes[0]


def test_wrong_use_is_named(clip: Path) -> None:
    with pytest.raises(ValueError, match="decoder must be one of auto, decord, pyav"):
        DecodeOptions(decoder="opencv")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="short_side"):
        DecodeOptions(short_side=0)
    with open_reader(str(clip)) as opened:
        with pytest.raises(RuntimeError, match="once all was read"):
            _ = opened.report
        list(opened.chunks())
        with pytest.raises(RuntimeError, match="once"):
            list(opened.chunks())


def test_large_pictures_make_small_chunks() -> None:
    assert DecodeOptions().frames_per_chunk((342, 256)) == 31
    assert DecodeOptions().frames_per_chunk((3840, 2160)) == 1
    assert MAX_CHUNK_BYTES == 8 * 1024 * 1024


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([5.0, 5.1, 5.3], [0.0, 0.1, 0.3]),  # starts late
        ([-3e17, 0.1, 0.2], [0.0, 0.1, 0.2]),  # an absurd first one
        ([None, None, None], [0.0, 0.1, 0.2]),  # none at all
        ([0.0, 0.1, 0.05, 0.3], [0.0, 0.1, 0.2, 0.3]),  # one goes back
        ([0.0, 1e7, 0.2], [0.0, 0.1, 0.2]),  # one leaps
        ([0.0, float("nan"), 0.2], [0.0, 0.1, 0.2]),
    ],
)
def test_clock(stamps: list[float | None], expected: list[float]) -> None:
    clock = Clock(fps=10)
    assert [clock.tick(stamp) for stamp in stamps] == pytest.approx(expected)
    assert clock.covered == pytest.approx(expected[-1] + 0.1)


@pytest.fixture(scope="module")
def worker() -> Iterator[DecodeWorker]:
    with DecodeWorker() as worker:
        yield worker


@pytest.mark.skipif(not decord.available(), reason="no decord")
def test_what_decord_conceals_is_told(long_clip: Path, tmp_path: Path, worker: DecodeWorker) -> None:
    """A few bytes that changed: decord gives all frames without a word, and FFmpeg's remark brings PyAV in."""
    path = str(clips.overwrite(long_clip, tmp_path / "noisy.mp4", 0.5, 0.502))
    reports = {}
    for decoder in ("auto", "pyav"):
        with worker.open(path, DecodeOptions(decoder=decoder, max_damage=1.0)) as reader:  # type: ignore[arg-type]
            numbers = [number for chunk in reader.chunks() for number in chunk.indices.tolist()]
            reports[decoder] = reader.report
        assert numbers == list(range(len(numbers)))
    assert reports["auto"].decoder == "decord+pyav"
    assert reports["pyav"].repaired > 0
    assert dataclasses.replace(reports["auto"], decoder="pyav") == reports["pyav"]
    with worker.open(str(long_clip)) as reader:
        list(reader.chunks())
        assert reader.report.decoder == "decord"


@pytest.mark.parametrize("decoder", DECODERS)
def test_isolated_is_the_same(clip: Path, worker: DecodeWorker, decoder: str) -> None:
    options: dict[str, Any] = {"decoder": decoder, "short_side": 64, "selection": whole(3), "chunk_frames": 6}
    frames, report = read(clip, **options)
    with worker.open(str(clip), DecodeOptions(**options)) as isolated:
        chunks = list(isolated.chunks())
    assert (np.concatenate([chunk.pixels for chunk in chunks]) == frames.pixels).all()
    assert np.concatenate([chunk.seconds for chunk in chunks]).tolist() == frames.seconds.tolist()
    assert np.concatenate([chunk.indices for chunk in chunks]).tolist() == frames.indices.tolist()
    assert (isolated.info, isolated.report, isolated.size) == (frames.info, report, (86, 64))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(("fps", "expected"), [(5, [0] * 3 + [1] * 5 + [2] * 7), (50, list(range(0, 40, 2)))])
def test_frames_by_the_second(decoder: str, fps: int, expected: list[int], tmp_path: Path) -> None:
    clip = clips.make_clip(tmp_path / "clip.mp4", 3 if fps == 5 else 40, fps=fps, options={"g": "4"})
    frames, report = read(clip, selection=whole(fps=25), decoder=decoder, chunk_frames=4)
    assert clips.numbers(frames.pixels) == frames.indices.tolist() == expected
    assert frames.seconds == pytest.approx(np.arange(len(expected)) / 25)
    assert report.used == len(set(expected))
    assert report.decoded == (3 if fps == 5 else 40)
    assert not report.notes


@pytest.mark.parametrize("decoder", DECODERS)
def test_chosen_samples_by_the_second(decoder: str, tmp_path: Path) -> None:
    clip = clips.make_clip(tmp_path / "clip.mp4", 20, fps=10)
    frames, report = read(clip, selection=Selection(indices=(1, 2, 3, 20), fps=25), decoder=decoder)
    # 0.04, 0.08, 0.12 and 0.8 s.
    assert clips.numbers(frames.pixels) == frames.indices.tolist() == [0, 1, 1, 8]
    assert report.decoded < 20


@pytest.mark.parametrize(("ending", "codec"), [("h264", "libx264"), ("m2v", "mpeg2video")])
def test_a_bare_bitstream_has_the_rate_that_its_headers_say(ending: str, codec: str, tmp_path: Path) -> None:
    clip = clips.make_clip(tmp_path / f"clip.{ending}", 50, fps=50, codec=codec)
    frames, _ = read(clip, selection=whole(fps=25))
    assert frames.info.fps == 50
    assert clips.numbers(frames.pixels) == list(range(0, 50, 2))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(("ending", "codec"), [("mp4", "libx264"), ("mpg", "mpeg2video")])
def test_interlaced_pictures_are_scaled_whole(tmp_path: Path, ending: str, codec: str, decoder: str) -> None:
    """Two fields that differ, as where something moves, become one gray, and no comb."""
    path = tmp_path / f"a.{ending}"
    options = {"x264-params": "interlaced=1:qp=4"} if codec == "libx264" else {"flags": "+ildct+ilme", "qmax": "2"}
    with av.open(str(path), "w") as made:
        stream = made.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        picture = np.repeat(np.array([40, 220], np.uint8), 128).reshape(2, 128, 1).repeat(3, axis=2)
        for _ in range(6):
            frame = av.VideoFrame.from_ndarray(np.tile(picture, (48, 1, 1)), format="rgb24")
            made.mux(stream.encode(frame))
        made.mux(stream.encode())
    with av.open(str(path)) as opened:
        assert next(opened.decode(video=0)).interlaced_frame
    frames, _ = read(path, decoder=decoder, short_side=48)
    assert len(frames) == 6
    assert frames.pixels.mean() == pytest.approx(130, abs=6)
    assert np.ptp(frames.pixels[:, 4:-4]) < 12


@pytest.mark.parametrize("decoder", DECODERS)
def test_area_makes_means_of_pixels_whichever_decoder_is_asked_for(clip: Path, decoder: str) -> None:
    full = read(clip, decoder="pyav")[0].pixels[-1].astype(float)
    means = full.reshape(48, 2, 64, 2, 3).mean(axis=(1, 3))
    frames, report = read(clip, short_side=48, decoder=decoder, interpolation="area")
    assert report.decoder == "pyav"
    assert np.abs(frames.pixels[-1] - means).max() < 3
    # At the edges of the tiles, bicubic scaling overshoots.
    assert np.abs(read(clip, short_side=48)[0].pixels[-1] - means).max() > 6


@pytest.mark.parametrize("size", [(1026, 16), (16, 1026), (2048, 2)])
def test_pictures_that_scaling_would_blow_up_are_refused(size: tuple[int, int], tmp_path: Path) -> None:
    path = str(clips.make_clip(tmp_path / "narrow.mkv", 2, size=size, codec="ffv1"))
    with pytest.raises(VideoError, match=f"{size[0]}×{size[1]} pixels would be scaled") as caught:
        open_reader(path, DecodeOptions(short_side=160))
    assert caught.value.kind == "too_large"
    # As they are, there is nothing wrong with them.
    with open_reader(path) as reader:
        assert reader.size == size


def test_pictures_at_the_limit_are_read(tmp_path: Path) -> None:
    path = str(clips.make_clip(tmp_path / "narrow.mkv", 2, size=(16 * MAX_ASPECT, 16), codec="ffv1"))
    with open_reader(path, DecodeOptions(short_side=32)) as reader:
        assert [chunk.pixels.shape for chunk in reader.chunks()] == [(2, 32, 32 * MAX_ASPECT, 3)]
