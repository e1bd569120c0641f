"""Encrypted and damaged files: what is an error, of which kind, and from which share on."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import clips
from vidcomp.video import DecodeOptions, DecodeReport, VideoError, open_reader

COMMON_ENCRYPTION = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "00112233445566778899aabbccddeeff",
    "encryption_kid": "0123456789abcdef0123456789abcdef",
}


def numbers_of(path: Path, **options: object) -> tuple[list[int], DecodeReport]:
    with open_reader(str(path), DecodeOptions(**options)) as reader:  # type: ignore[arg-type]
        found = [number for chunk in reader.chunks() for number in clips.numbers(chunk.pixels)]
        return found, reader.report


def kind_of(path: Path, **options: object) -> str:
    with pytest.raises(VideoError, match=path.name) as caught:
        numbers_of(path, **options)
    assert "\n" not in str(caught.value)
    return caught.value.kind


def scramble(source: Path, path: Path, *, share: float = 1.0, packet: int = 188) -> Path:
    """Scramble the last packets of a transport stream's video as broadcasters do, headers left clear.

    A `packet` of 192 bytes has a time stamp in front, as camcorders and discs write it; one of 204 has sixteen bytes
    for correcting errors behind, as they are sent.
    """
    noise = random.Random(0)
    pieces = [bytearray(source.read_bytes()[start:][:188]) for start in range(0, source.stat().st_size, 188)]
    video = [piece for piece in pieces if (piece[1] & 0x1F) << 8 | piece[2] == 0x100 and piece[3] & 0x10]
    for piece in video[len(video) - round(share * len(video)) :]:
        begin = 5 + piece[4] if piece[3] & 0x20 else 4
        piece[3] |= 0x80
        piece[begin:] = noise.randbytes(188 - begin)
    front, behind = (bytes(4), b"") if packet == 192 else (b"", bytes(packet - 188))
    path.write_bytes(b"".join(front + piece + behind for piece in pieces))
    return path


@pytest.mark.parametrize("extra", [{}, {"movflags": "frag_keyframe+empty_moov"}], ids=["indexed", "fragmented"])
@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4"])
def test_common_encryption(extra: dict[str, str], codec: str, tmp_path: Path) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {"g": "10"}
    path = tmp_path / "locked.mp4"
    clips.make_clip(path, 40, codec=codec, options=options, container_options={**COMMON_ENCRYPTION, **extra})
    assert kind_of(path) == "encrypted"
    # No share of noise makes labels.
    assert kind_of(path, max_damage=1.0) == "encrypted"


def test_encryption_that_hides_the_codec(tmp_path: Path) -> None:
    path = clips.make_clip(tmp_path / "locked.mp4", 9, container_options=COMMON_ENCRYPTION)
    path.write_bytes(path.read_bytes().replace(b"encv", b"drmi"))
    assert kind_of(path) == "encrypted"


def test_encryption_of_webm(tmp_path: Path) -> None:
    path = clips.make_clip(tmp_path / "locked.webm", 9, codec="libvpx", container_options={"live": "1"})
    data = path.read_bytes()
    begin = data.rindex(_ebml("1654ae6b"))  # the list of tracks, in it the only one
    tracks, end = _content(data, begin + 4)
    (track, _) = _content(data[:end], data.index(b"\xae", end - len(tracks)) + 1)
    key = _ebml("47e1", b"\x05") + _ebml("47e2", b"name of a key")
    encoding = _ebml("5032", b"\1") + _ebml("5033", b"\1") + _ebml("5035", key)
    locked = _ebml("ae", track + _ebml("6d80", _ebml("6240", encoding)))
    path.write_bytes(data[:begin] + _ebml("1654ae6b", locked) + data[end:])
    assert kind_of(path) == "encrypted"


def _ebml(name: str, content: bytes | None = None) -> bytes:
    """An element of Matroska, or its name alone."""
    size = b"" if content is None else (len(content) | 1 << 56).to_bytes(8, "big")
    return bytes.fromhex(name) + size + (content or b"")


def _content(data: bytes, at: int) -> tuple[bytes, int]:
    """What follows the size that stands at a place, and where it ends."""
    length = 9 - data[at].bit_length()
    size = int.from_bytes(data[at : at + length], "big") & (1 << 7 * length) - 1
    return data[at + length : at + length + size], at + length + size


@pytest.mark.parametrize("packet", [188, 192, 204])
def test_a_scrambled_broadcast(packet: int, tmp_path: Path) -> None:
    clear = clips.make_clip(tmp_path / "clear.ts", 60)
    locked = scramble(clear, tmp_path / "locked.ts", packet=packet)
    assert kind_of(locked, max_damage=1.0) == "encrypted"
    as_it_is = scramble(clear, tmp_path / "open.ts", share=0.0, packet=packet)
    assert numbers_of(as_it_is)[0] == list(range(60))


def test_a_broadcast_that_is_scrambled_in_part(tmp_path: Path) -> None:
    clear = clips.make_clip(tmp_path / "clear.ts", 60)
    path = scramble(clear, tmp_path / "part.ts", share=0.4)
    found, report = numbers_of(path)
    assert found[:30] == list(range(30))
    assert len(found) < 50
    assert any(note.endswith("of it is encrypted, and was left out") for note in report.notes)
    assert kind_of(path, max_damage=0.3) == "encrypted"


def test_of_a_scrambled_packet_little_is_said(tmp_path: Path) -> None:
    clear = clips.make_clip(tmp_path / "clear.ts", 300, options={"g": "1"})
    notes = numbers_of(scramble(clear, tmp_path / "part.ts", share=0.004))[1].notes
    assert "less than 1% of it is encrypted, and was left out" in notes


def test_a_picture_that_was_cut_is_left_out_where_nothing_can_stand_for_the_rest(tmp_path: Path) -> None:
    whole = clips.make_clip(tmp_path / "a.avi", 20, codec="mjpeg", pixel_format="yuvj420p")
    data = whole.read_bytes()
    begins = [at for at in range(data.index(b"movi"), len(data)) if data.startswith(b"00dc", at)]
    (tmp_path / "b.avi").write_bytes(data[: begins[9] + 400])
    found, report = numbers_of(tmp_path / "b.avi")
    assert found == list(range(9))
    assert report.repaired == 1
    assert "1 damaged frame, concealed by the decoder or left out" in report.notes


def test_a_scrambled_disc(tmp_path: Path) -> None:
    clear = clips.make_clip(tmp_path / "clear.vob", 60, codec="mpeg2video")
    assert numbers_of(clear)[0] == list(range(60))
    data = bytearray(clear.read_bytes())
    begin = data.find(b"\0\0\1\xe0")
    while begin >= 0:
        length = int.from_bytes(data[begin + 4 : begin + 6], "big")
        payload = begin + 9 + data[begin + 8]
        data[begin + 6] |= 0x10
        data[payload : begin + 6 + length] = random.Random(begin).randbytes(begin + 6 + length - payload)
        begin = data.find(b"\0\0\1\xe0", begin + 6 + length)
    path = tmp_path / "locked.vob"
    path.write_bytes(data)
    assert kind_of(path, max_damage=1.0) == "encrypted"


HOLES: dict[str, tuple[str, dict[str, str]]] = {
    "hole.mp4": ("libx264", {"g": "20"}),
    "hole.mkv": ("libx264", {"g": "20"}),
    "hole.ts": ("libx264", {"g": "20"}),
    "hole.avi": ("mpeg4", {}),
    "hole.webm": ("libvpx", {}),
}


@pytest.mark.parametrize("name", HOLES)
@pytest.mark.parametrize("damage", [clips.damage, clips.overwrite], ids=["zeros", "noise"])
def test_what_a_hole_took_counts(name: str, damage: Callable[..., Path], tmp_path: Path) -> None:
    codec, options = HOLES[name]
    # Its index at the front, an MP4's hole is one of frames only.
    whole = clips.make_clip(
        tmp_path / f"whole-{name}",
        120,
        codec=codec,
        options=options,
        size=(320, 240),
        container_options={"movflags": "faststart"} if name.endswith("mp4") else {},
    )
    path = damage(whole, tmp_path / name, 0.3, 0.95)
    assert kind_of(path) == "damaged"
    found, _ = numbers_of(path, max_damage=1.0)
    assert 0 < len(found) < 70
    # A smaller hole is bridged, and the limit decides which is small.
    small = damage(whole, tmp_path / f"small-{name}", 0.88, 0.95)
    assert len(numbers_of(small)[0]) > 60


def test_the_limit_is_the_callers(tmp_path: Path) -> None:
    whole = clips.make_clip(tmp_path / "whole.mp4", 120, options={"g": "20"}, size=(320, 240))
    path = clips.damage(whole, tmp_path / "hole.mp4", 0.5, 0.6)
    _, report = numbers_of(path)
    share = report.repaired / 120
    assert 0.05 < share < 0.25
    assert numbers_of(path, max_damage=share)[1] == report
    assert kind_of(path, max_damage=share - 0.01) == "damaged"
    assert numbers_of(whole, max_damage=0.0)[0] == list(range(120))
    with pytest.raises(ValueError, match="share from 0 to 1"):
        DecodeOptions(max_damage=30)


@pytest.mark.parametrize("name", ["cut.mkv", "cut.avi", "cut.ts", "cut.mp4"])
def test_a_cut_is_no_damage(name: str, tmp_path: Path) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    front = {"movflags": "faststart"} if name.endswith("mp4") else {}
    whole = clips.make_clip(tmp_path / f"whole-{name}", 120, codec=codec, container_options=front, size=(320, 240))
    found, _ = numbers_of(clips.cut(whole, tmp_path / name, 0.35))
    assert 5 < len(found) < 60


def test_few_frames_are_no_damage(tmp_path: Path) -> None:
    """A recording that shows a picture only where something happens: 60 frames in 40 seconds."""
    times = [*range(30), *range(970, 1000)]
    path = clips.make_clip(tmp_path / "seldom.mkv", 60, times=times)
    assert numbers_of(path, max_damage=0.0)[0] == list(range(60))


def test_a_small_hole_is_told(tmp_path: Path) -> None:
    """Also where the decoder notices nothing, as each picture stands for itself."""
    whole = clips.make_clip(tmp_path / "whole.mkv", 120, codec="mjpeg", pixel_format="yuvj420p", size=(320, 240))
    found, report = numbers_of(clips.damage(whole, tmp_path / "hole.mkv", 0.4, 0.55))
    assert 90 < len(found) < 110
    assert [note for note in report.notes if note.startswith("the file promises about 120 frames")]
