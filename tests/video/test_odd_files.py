"""Odd, hostile and broken files: for each file and decoder, the frames or the one error, through the child process."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from vidcomp.video import DecodeOptions, DecodeWorker, VideoError, decord, open_reader

pytestmark = pytest.mark.shared_data

# file: (frames, width, height) or the kind of error; who decodes, unless it must be PyAV.
TABLE: dict[str, tuple[tuple[int, int, int] | str, str]] = {
    "anim.gif": ((20, 160, 120), "decord"),
    "audio_only.mp4": ("no_video_stream", ""),
    "av1.mp4": ((120, 340, 256), "decord"),
    "bf.avi": ((60, 340, 256), "pyav"),
    "cover.m4a": ("no_video_stream", ""),
    "demo.mp4": ((280, 340, 256), "decord"),
    "frag.mp4": ((120, 340, 256), "decord"),
    "gray.mp4": ((30, 340, 256), "decord"),
    "hevc10.mp4": ((40, 340, 256), "decord"),
    "hevc4k.mp4": ((40, 3840, 2160), "decord"),
    "long4096.mp4": ((4096, 320, 240), "decord"),
    "midstart.ts": ("truncated", ""),
    "odd_vp9.webm": ((40, 321, 241), "decord"),
    "one.mp4": ((1, 340, 256), "decord"),
    "one.png": ((1, 340, 256), "pyav"),
    "pancake.mkv": ((310, 426, 240), "decord"),
    "raw.h264": ((60, 340, 256), "pyav"),
    "rot90.mp4": ((60, 256, 340), "decord"),
    "t.ts": ((300, 340, 256), "pyav"),
    "text.mp4": ("not_video", ""),
    "tiny.mp4": ((10, 16, 16), "pyav"),
    "trunc.mkv": ((140, 426, 240), "decord+pyav"),
    "trunc_2k.mp4": ("truncated", ""),
    "trunc_end.mp4": ("truncated", ""),
    "vfr.mp4": ((213, 340, 256), "decord"),
    "video_90.mov": ((3, 320, 568), "decord"),
    "vp9.webm": ((120, 340, 256), "decord"),
    "x.flv": ((60, 340, 256), "pyav"),
    "x.wmv": ((60, 340, 256), "pyav"),
    "zero.mp4": ("empty", ""),
}
LARGE = {"hevc4k.mp4", "long4096.mp4"}


@pytest.fixture(scope="module")
def worker() -> Iterator[DecodeWorker]:
    with DecodeWorker() as worker:
        yield worker


def test_the_table_says_what_the_data_says(shared_data: Path) -> None:
    with (shared_data / "odd" / "expected.csv").open() as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert rows.keys() == TABLE.keys()
    for name, (outcome, _) in TABLE.items():
        size = (int(rows[name]["frames"]), int(rows[name]["width"] or 0), int(rows[name]["height"] or 0))
        assert outcome == size if isinstance(outcome, tuple) else size[0] == 0, name


@pytest.mark.parametrize(
    ("name", "decoder"),
    # Large ones only as `auto` reads them, which is by decord: they are slow to read twice.
    [(name, by) for name in TABLE for by in ("auto", "pyav", "decord") if by == "auto" or name not in LARGE],
)
def test_odd_file(name: str, decoder: str, shared_data: Path, worker: DecodeWorker) -> None:
    outcome, by_decord = TABLE[name]
    path = str(shared_data / "odd" / name)
    if decoder == "decord" and not decord.available():
        pytest.skip("decord has no wheel for this platform")
    # The size of the source, but for two files that would take seconds: there the size is checked, and the count small.
    options = DecodeOptions(decoder=decoder, short_side=32 if name in LARGE else None)  # type: ignore[arg-type]
    if isinstance(outcome, str):
        with pytest.raises(VideoError, match=name) as caught:
            worker.open(path, options)
        assert caught.value.kind == outcome
        assert "\n" not in str(caught.value)
        return
    with worker.open(path, options) as reader:
        chunks = list(reader.chunks())
        assert sum(map(len, chunks)) == outcome[0]
        assert (reader.info.width, reader.info.height) == outcome[1:]
        assert all(chunk.pixels.shape[1:3] == reader.size[::-1] for chunk in chunks)
        assert reader.size == outcome[1:] or name in LARGE
        seconds = [second for chunk in chunks for second in chunk.seconds]
        assert seconds[0] == 0.0
        assert seconds == sorted(set(seconds))
        assert reader.report.decoder == ("pyav" if decoder == "pyav" else by_decord)
        assert reader.report.repaired == 0


@pytest.mark.parametrize("name", [name for name, (_, by) in TABLE.items() if by == "decord" and name not in LARGE])
def test_decoders_give_the_same_pictures(name: str, shared_data: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("decord")
    path = str(shared_data / "odd" / name)
    means = []
    readers = [open_reader(path, DecodeOptions(decoder=decoder)) for decoder in ("pyav", "decord")]
    for ours, theirs in zip(readers[0].chunks(), readers[1].chunks(), strict=True):
        assert ours.seconds == pytest.approx(theirs.seconds, abs=1e-6)
        means.append(abs(ours.pixels.astype(int) - theirs.pixels).mean(axis=(1, 2, 3)).max())
    for reader in readers:
        reader.close()
    assert max(means) < 2.0  # gray levels of 255; neighboring frames differ by more
