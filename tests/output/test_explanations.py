"""Files of explanations: where they go, what is in them, and that they belong to the right frames."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests import clips
from vidcomp.attention import AttentionMap
from vidcomp.inference.prediction import FrameCounts, Label, Prediction, Timing
from vidcomp.output import attention_plot
from vidcomp.output.explanations import Explanations, is_explanation, pictures_of
from vidcomp.output.plots import PictureError
from vidcomp.video import DecodePool, VideoError

pytest.importorskip("matplotlib", reason="pictures need matplotlib")


def prediction(path: Path, attention: AttentionMap | None) -> Prediction:
    labels = (Label("jump", 0, 0.9),)
    return Prediction(str(path), "m", "whole", labels, FrameCounts(60, 15, 0, 2.4), Timing(0, 0), attention=attention)


def attention(frames: int = 15) -> AttentionMap:
    weights = np.full((3, frames), 0.1, np.float32)
    weights[:, 4] = 1
    return AttentionMap("sfc", weights, np.arange(frames) * 0.16, np.arange(frames) * 4)


@pytest.mark.parametrize(
    ("paths", "root", "expected"),
    [
        (["v/a/x.mp4", "v/b/x.mp4"], "v", ["a/x.mp4", "b/x.mp4"]),
        (["v/a/x.mp4", "v/b/x.mp4"], None, ["a/x.mp4", "b/x.mp4"]),
        (["v/a/x.mp4"], None, ["x.mp4"]),
        (["v/a/x.mp4"], "v", ["a/x.mp4"]),
        (["../up/x.mp4", "here/x.mp4"], None, ["up/x.mp4", "{here}/here/x.mp4"]),
        (["x.mp4", "x.mkv"], None, ["x.mp4", "x.mkv"]),
    ],
)
def test_names_never_collide_nor_lead_out(
    paths: list[str], root: str | None, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    explanations = Explanations(Path("out"), paths, root=root)
    places = [explanations.beside(path, "png") for path in paths]
    assert [place.as_posix() for place in places] == [
        f"out/{name.format(here='here')}.attention.png" for name in expected
    ]
    assert len(set(places)) == len(places)


def test_a_path_outside_of_the_root_stays_inside(tmp_path: Path) -> None:
    explanations = Explanations(tmp_path / "out", [], root=str(tmp_path / "v"))
    assert explanations.beside(str(tmp_path / "x.mp4"), "png") == tmp_path / "out" / "x.mp4.attention.png"


def test_picture_numbers_and_video(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[int, int] = {}
    draw = attention_plot.draw

    def noted(given: AttentionMap, pictures: attention_plot.Pictures, title: str) -> bytes:
        drawn.update({frame: clips.read(picture) for frame, picture in pictures.items()})
        return draw(given, pictures, title)

    monkeypatch.setattr(attention_plot, "draw", noted)
    with Explanations(tmp_path / "out", [str(clip)], video=True) as explanations:
        explanations.write(str(clip), prediction(clip, attention()))
        assert explanations.beside(str(clip), "png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        with np.load(explanations.beside(str(clip), "npz")) as file:
            numbers = dict(file)
        video = explanations.beside(str(clip), "mp4")
    assert drawn == {frame: 4 * frame for frame in drawn}
    assert 4 in drawn
    assert numbers["weights"].shape == (3, 15)
    assert numbers["importance"].mean() == pytest.approx(1)
    assert numbers["indices"].tolist() == [4 * i for i in range(15)]
    assert (str(numbers["compressor"]), numbers["bins"].shape) == ("sfc", (0, 15))
    assert is_explanation(str(video))
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".jsonl", ".mp4", ".npz", ".png"]
    with av.open(str(video)) as container:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert [time for time, _ in frames] == pytest.approx([i / 25 for i in range(60)], abs=1e-3)
    assert [clips.read(picture[:240]) for _, picture in frames] == list(range(60))
    # The cursor moves, and the attended moment (frame 16 of 60) is the one that is yellow.
    band = frames[-1][1][240:].astype(int)
    yellow = np.flatnonzero(((band[:, :, 0] > 180) & (band[:, :, 2] < 90)).any(axis=0)) / band.shape[1]
    assert 14 / 60 - 0.03 < yellow.min() < 16 / 60 < yellow.max() < 18 / 60 + 0.03
    assert frames[0][1][240:, :2].mean() > 200 > frames[-1][1][240:, :2].mean()


def test_what_has_no_map_or_no_frames_makes_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_text("not a video")
    with Explanations(tmp_path / "out", [str(broken)], video=True) as explanations:
        with pytest.raises(PictureError, match="no attention"):
            explanations.write(str(broken), prediction(broken, None))
        with pytest.raises(VideoError):
            explanations.write(str(broken), prediction(broken, attention()))
    assert [path.suffix for path in (tmp_path / "out").glob("broken*")] == [".npz"]


def test_frames_that_a_file_does_not_hold_are_stood_in_for_by_the_last_before(clip: Path) -> None:
    with DecodePool() as pool:
        found = pictures_of(str(clip), pool, [7, 59, 80])
    assert {index: clips.read(picture) for index, picture in found.items()} == {7: 7, 59: 59, 80: 59}
