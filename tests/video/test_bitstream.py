"""Groups of pictures: motion, residuals and anchors of clips whose motion is known by construction."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests import clips
from vidcomp.video import DecodeOptions, VideoError, open_reader
from vidcomp.video.bitstream import NATIVE, BitstreamOptions, BitstreamReader, BitstreamReport, GroupOfPictures
from vidcomp.video.groups import GroupReader
from vidcomp.video.motion import Predictor, accumulate, fields_of

NO_B = {"bf": "0", "g": "250", "sc_threshold": "0"}
SHIFT = 4, -2  # pixels a frame, right and down, by which the window moves over the scene


def scene(width: int, height: int, frames: int) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) of a window that moves by SHIFT over a picture full of soft spots."""
    noise = np.random.default_rng(0).random((height + 2 * frames + 40, width + 4 * frames + 40))
    for axis in (0, 1):
        for _ in range(3):
            noise = noise + np.roll(noise, 1, axis) + np.roll(noise, 2, axis)
    picture = np.interp(noise, (noise.min(), noise.max()), (0, 255)).astype(np.uint8)
    views = [
        picture[2 * frames + SHIFT[1] * number :, SHIFT[0] * number :][:height, :width] for number in range(frames)
    ]
    return np.repeat(np.stack(views)[..., None], 3, axis=3)


def write(
    path: Path, pictures: NDArray[np.uint8], codec: str = "libx264", options: Mapping[str, str] = NO_B, rotated: int = 0
) -> Path:
    """Write frames (T, H, W, 3) to a clip of 25 frames a second, stored as they are once turned by so many quarters."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=dict(options))
        pictures = np.rot90(pictures, rotated, (1, 2))
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def groups_of(path: Path, threads: int = 1, **options: object) -> tuple[list[GroupOfPictures], BitstreamReport]:
    with BitstreamReader(str(path), BitstreamOptions(**options), threads=threads) as reader:  # type: ignore[arg-type]
        return list(reader.groups()), reader.report


def agreeing(group: GroupOfPictures, shift: tuple[int, int] = SHIFT) -> list[float]:
    """For each P-frame the share of inner cells, of those with a vector, that moved as the scene did."""
    frames = np.rint((group.times_s - group.anchor_s) * 25)[:, None, None, None]
    right = np.abs(group.motion - frames * np.array(shift)).max(axis=3) <= 1
    inner = group.mask.astype(bool)
    inner[:, :, -6:] = inner[:, :6] = False  # what has just come into the picture
    return [float(good[known].mean()) for good, known in zip(right, inner, strict=True)]


@pytest.mark.parametrize(
    ("name", "codec", "options", "vectors"),
    [
        ("a.mp4", "libx264", NO_B, "native"),
        ("b.mp4", "libx264", {"bf": "3", "g": "250", "b_strategy": "0"}, "native"),
        ("c.avi", "mpeg4", {"bf": "0"}, "native"),
        ("d.webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}, "transcoded"),
        ("e.mov", "prores_ks", {}, "transcoded"),
        ("f.mp4", "libx264", {"g": "1"}, "transcoded"),
    ],
)
def test_vectors_are_those_of_the_scene(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], vectors: str
) -> None:
    pictures = scene(208, 160, 25)
    groups, report = groups_of(write(tmp_path / name, pictures, codec, options))
    assert (report.vectors, report.frames) == (vectors, 25)
    assert groups[0].motion.shape[1:] == (20, 26, 2)
    assert groups[0].residual.shape[1:] == (80, 104)
    assert np.mean([share for group in groups for share in agreeing(group)]) > 0.85
    assert np.mean([group.mask.mean() for group in groups if len(group)]) > 0.5
    assert (report.share_of_b > 0.5) == (name == "b.mp4")


def test_motion_and_residuals_are_turned_as_the_picture_is(tmp_path: Path) -> None:
    pictures = scene(208, 160, 12)
    (plain,), _ = groups_of(write(tmp_path / "plain.mp4", pictures), difference=True)
    turned = clips.set_matrix(write(tmp_path / "turned.mp4", pictures, rotated=1), (0, 1, -1, 0))
    (group,), _ = groups_of(turned, difference=True)
    assert group.anchor.shape == plain.anchor.shape == (160, 208, 3)
    assert group.motion.shape == plain.motion.shape
    assert group.residual.shape == plain.residual.shape
    assert np.corrcoef(group.difference.ravel(), plain.difference.ravel())[0, 1] > 0.9
    assert np.mean(agreeing(group)) > 0.85
    mirrored = clips.set_matrix(write(tmp_path / "mirrored.mp4", pictures[:, :, ::-1]), (-1, 0, 0, 1))
    (group,), _ = groups_of(mirrored)
    assert np.mean(agreeing(group)) > 0.85


def test_moving_the_picture_before_lowers_the_residual(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", scene(208, 160, 12))
    (group,), _ = groups_of(path)
    with open_reader(str(path)) as reader:
        luma = np.concatenate([chunk.pixels for chunk in reader.chunks()])[..., 1].astype(np.float64)
    half = luma.reshape(12, 80, 2, 104, 2).mean(axis=(2, 4))
    plain = np.abs(np.diff(half, axis=0))[:, 4:-12, 4:-12].mean()
    assert np.abs(group.residual[:, 4:-12, 4:-12]).mean() < plain / 4


def test_differences_tell_what_changed_in_four_frames(tmp_path: Path) -> None:
    grays = np.arange(40, 40 + 5 * 26, 5, np.uint8)  # 26 frames: groups of 12, 12 and 2
    path = write(tmp_path / "a.mp4", np.broadcast_to(grays[:, None, None, None], (26, 48, 64, 3)))
    groups, _ = groups_of(path, difference=True, residual=False)
    assert [group.difference.shape for group in groups] == [(1, 24, 32)] * 3
    # Brightness has 219 steps where colors have 255; of the last group's two frames one is the anchor.
    for group, frames in zip(groups, (4, 4, 1), strict=True):
        assert group.difference.mean() == pytest.approx(5 * frames * 219 / 255, abs=2)
    single = write(tmp_path / "single.mp4", np.full((1, 48, 64, 3), 99, np.uint8))
    (alone,), _ = groups_of(single, difference=True)
    assert alone.difference.shape == (0, 24, 32)
    wanted = ("keyframes", "difference", "differs")
    reader = GroupReader(str(path), DecodeOptions(48, modalities=wanted, joined=2))
    (chunk,) = reader.chunks()
    reader.close()
    assert chunk.data["differs"].tolist() == [[1, 1], [1, 0]]
    np.testing.assert_array_equal(
        chunk.data["difference"][:, 0], np.concatenate([groups[0].difference, groups[2].difference])
    )
    assert not chunk.data["difference"][1, 1].any()


def test_residual_of_a_known_field_is_zero() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (37, 53), np.uint8)
    moved = np.roll(picture, (-3, 5), (0, 1))
    predictor = Predictor((53, 37))
    before, now = predictor.blurred(picture), predictor.blurred(moved)
    field = np.broadcast_to(np.array([-5, 3], np.float32), (5, 7, 2))
    left = predictor.residual(now, before, field)
    assert left.shape == (19, 27)
    assert not left[1:-3, 4:-2].any()
    still = predictor.residual(now, now, np.zeros((5, 7, 2), np.float32))
    assert not still.any()
    # Vectors far beyond the picture see its edge, and nothing else.
    predictor.residual(now, before, np.full((5, 7, 2), 30000, np.float32))


def test_vectors_add_up_along_their_way() -> None:
    field = np.zeros((2, 1, 3, 2), np.float32)
    known = np.ones((2, 1, 3), np.bool_)
    field[0, 0] = [[1, 0], [2, 0], [3, 0]]
    known[0, 0, 2] = False
    field[1, 0] = [[8, 0], [8, 0], [-4, 0]]  # each from its right neighbor, the last from its own or the one before
    total, reached = accumulate(field, known)
    assert total[1, 0, 0].tolist() == [10, 0]
    assert not reached[1, 0, 1]
    assert total[1, 0, 1].tolist() == [0, 0]
    assert reached[:, 0].tolist() == [[1, 1, 0], [1, 0, 0]]


def test_blocks_cover_their_cells_and_nothing_beyond_the_picture() -> None:
    names = ("source", "w", "h", "dst_x", "dst_y", "motion_x", "motion_y", "motion_scale")
    rows = [
        (-1, 16, 8, 8, 4, 6, -4, 4),  # cells (0, 0) and (0, 1)
        (-1, 8, 16, 20, 8, 8, 0, 4),  # cells (0, 2) and (1, 2)
        (1, 8, 8, 4, 12, 8, 8, 4),  # into the future
        (-1, 16, 16, 400, 8, 8, 8, 4),  # from a damaged picture
    ]
    vectors = np.array(rows, [(name, np.int32) for name in names])
    field, known = fields_of(vectors, [0, 4], (24, 16))
    assert known.astype(int).tolist() == [[[0, 0, 0]] * 2, [[1, 1, 1], [0, 0, 1]]]
    assert field[1, 0].tolist() == [[1.5, -1], [1.5, -1], [2, 0]]
    assert field[1, 1].tolist() == [[0, 0], [0, 0], [2, 0]]


@pytest.mark.parametrize("threads", [1, 4])
def test_every_run_gives_the_same(tmp_path: Path, threads: int) -> None:
    path = write(tmp_path / "a.mp4", scene(208, 160, 40), options={"bf": "3", "slices": "4"})
    first, _ = groups_of(path)
    again, _ = groups_of(path, threads)
    same(first, again)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["demo.mp4", "t.ts"])
def test_any_number_of_threads_gives_the_same(shared_data: Path, name: str) -> None:
    one, _ = groups_of(shared_data / "odd" / name, residual=False)
    several, _ = groups_of(shared_data / "odd" / name, 4, residual=False)
    same(one, several)


def same(one: list[GroupOfPictures], other: list[GroupOfPictures]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        for name in ("anchor", "motion", "mask", "residual", "times_s"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_anchors_are_key_frames_and_one_more_every_twelve(tmp_path: Path) -> None:
    path = clips.make_clip(tmp_path / "a.mp4", 40, options={"g": "20", "bf": "0", "sc_threshold": "0"})
    groups, report = groups_of(path, short_side=96)
    assert [group.anchor_index for group in groups] == [0, 12, 20, 32]
    assert clips.numbers(np.stack([group.anchor for group in groups])) == [0, 12, 20, 32]
    assert [len(group) for group in groups] == [11, 7, 11, 7]
    assert groups[1].anchor_s == pytest.approx(12 / 25)
    assert groups[1].times_s == pytest.approx(np.arange(13, 20) / 25)
    assert report.gop_lengths == (20, 20)
    some, _ = groups_of(path, motion_every=3, residual=False)
    assert [len(group) for group in some] == [3, 2, 3, 2]
    assert some[0].times_s == pytest.approx(np.array([3, 6, 9]) / 25)
    assert some[0].residual.shape == (3, 0, 0)
    joined, _ = groups_of(path, short_side=96, joined=3, motion=False, residual=False)
    assert [group.anchor.shape[:2] for group in joined] == [groups[0].anchor.shape[:2], (0, 0), (0, 0), (96, 128)]
    np.testing.assert_array_equal(joined[3].anchor, groups[3].anchor)


def test_a_third_of_the_vectors_stands_for_the_rest(tmp_path: Path) -> None:
    (group,), _ = groups_of(write(tmp_path / "a.mp4", scene(208, 160, 12)), motion_every=3)
    assert len(group) == 3
    assert np.mean(agreeing(group)) > 0.8


def test_groups_come_as_they_are_read_whatever_is_left(tmp_path: Path) -> None:
    path = clips.make_clip(tmp_path / "a.mp4", 300, options={"g": "1000", "sc_threshold": "0"}, size=(64, 48))
    with BitstreamReader(str(path)) as reader:
        groups = reader.groups()
        first = next(groups)
        assert len(first) < 12
        with pytest.raises(RuntimeError, match="once all was read"):
            _ = reader.report
        assert reader._reader.decoded < 40
        groups.close()


def test_pictures_that_change_their_size_come_in_one_shape(tmp_path: Path) -> None:
    small = write(tmp_path / "small.h264", scene(104, 80, 6))
    large = write(tmp_path / "large.h264", scene(208, 160, 6))
    both = tmp_path / "both.h264"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    groups, report = groups_of(both, short_side=80, difference=True)
    assert report.frames == 12
    assert len(groups) == 2
    assert {group.anchor.shape for group in groups} == {(80, 104, 3)}
    assert {group.motion.shape[1:] for group in groups} == {(10, 13, 2)}
    assert {group.residual.shape[1:] for group in groups} == {(40, 52)}
    assert {group.difference.shape for group in groups} == {(1, 40, 52)}
    # Vectors are in pixels of the first picture's size: half as long here.
    assert np.mean(agreeing(groups[1], (SHIFT[0] // 2, SHIFT[1] // 2))) > 0.8


def test_damage_is_handled_as_by_other_readers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", scene(208, 160, 40))
    broken = clips.overwrite(path, tmp_path / "broken.mp4", 0.75, 0.8)
    groups, report = groups_of(broken)
    assert 0 < report.repaired < 20
    assert any("damaged" in note for note in report.notes)
    assert any(group.anchor_index % 12 for group in groups)  # behind damage a new group begins
    with pytest.raises(VideoError) as caught, BitstreamReader(str(broken), max_damage=0.0) as reader:
        list(reader.groups())
    assert caught.value.kind == "damaged"


def test_what_has_no_vectors_can_be_refused(tmp_path: Path) -> None:
    path = clips.make_clip(tmp_path / "a.webm", 5, codec="libvpx-vp9")
    with pytest.raises(VideoError, match="vp9") as caught:
        groups_of(path, transcode="never")
    assert caught.value.kind == "decode_failed"
    with pytest.raises(VideoError) as caught:
        groups_of(clips.make_sound(tmp_path / "sound.mp4"))
    assert caught.value.kind == "no_video_stream"


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        BitstreamOptions(motion_every=0)
    with pytest.raises(ValueError, match="auto, always or never"):
        BitstreamOptions(transcode="sometimes")  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize("folder", ["odd", "cases"])
def test_every_odd_file_gives_groups_or_one_clear_error(shared_data: Path, folder: str) -> None:
    for path in sorted((shared_data / folder).glob("*.*")):
        try:
            groups, report = groups_of(path)
        except VideoError:
            continue
        assert groups, path
        assert report.frames
        assert len({group.motion.shape[1:] for group in groups}) == 1
        assert all(np.isfinite(group.motion).all() for group in groups)


def test_codecs_have_the_names_that_files_tell() -> None:
    names = set()
    for name in av.codec.codecs_available:
        try:
            names.add(av.codec.Codec(name, "r").canonical_name)
        except ValueError:
            continue  # it can only be written
    assert names >= NATIVE
