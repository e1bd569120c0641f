"""Moments: found in scores, told when they are, and the same however the video is passed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

import vidcomp
from tests import clips
from tests.tiny_model import make_tiny_model
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.grammar import parse_strategy
from vidcomp.inference.moments import MomentScores, find_moments, moment_scores
from vidcomp.inference.windows import cut_frames
from vidcomp.nn.backbones import BACKBONES
from vidcomp.nn.backbones.lite0 import lite0_slow
from vidcomp.nn.compressors import SFC, Identity, SalientSFC
from vidcomp.nn.video_model import ModelOutput
from vidcomp.nn.whole_video import CompressedModel, Insertion
from vidcomp.video import Frames, VideoInfo


def scores(*parts: tuple[int, int | None], classes: int = 20, step_s: float = 0.5) -> MomentScores:
    """Moments of half a second: so many that show a class, or none of them."""
    rows = [np.full(classes, 0.0) + 8.0 * (np.arange(classes) == shown) for count, shown in parts for _ in range(count)]
    starts = np.arange(len(rows)) * step_s
    return MomentScores(np.array(rows, np.float32), starts, starts + step_s)


def found(given: MomentScores, allowed: NDArray[np.bool_] | None = None) -> list[tuple[float, float, int]]:
    return [(moment.start_s, moment.end_s, moment.index) for moment in find_moments(given, allowed)]


def test_an_action_is_found_where_it_is() -> None:
    (moment,) = find_moments(scores((20, None), (8, 2), (20, None)))
    assert (moment.start_s, moment.end_s, moment.index) == (10.0, 14.0, 2)
    assert moment.probability == pytest.approx(1 / (1 + 19 * np.exp(-8)))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (((8, 1), (20, None)), [(0.0, 4.0, 1)]),
        (((20, None), (8, 1)), [(10.0, 14.0, 1)]),
        (((8, 1), (20, None), (8, 1)), [(0.0, 4.0, 1), (14.0, 18.0, 1)]),
        (((8, 1), (8, 3)), [(0.0, 4.0, 1), (4.0, 8.0, 3)]),
        (((8, 1),), [(0.0, 4.0, 1)]),
        (((40, None),), []),
        (((1, None),), []),
        (((20, None), (1, 2), (20, None)), []),
        (((8, 1), (1, None), (8, 1)), [(0.0, 8.5, 1)]),
    ],
    ids=["start", "end", "two", "two that touch", "nothing else", "none", "one moment", "too short", "interrupted"],
)
def test_where_actions_may_be(parts: tuple[tuple[int, int | None], ...], expected: list[object]) -> None:
    assert found(scores(*parts)) == expected


def test_an_action_ends_where_nothing_was_seen() -> None:
    given = scores((16, 1))
    later = np.where(np.arange(16) < 8, 0.0, 30.0)
    apart = MomentScores(given.logits, given.starts_s + later, given.ends_s + later)
    assert found(apart) == [(0.0, 4.0, 1), (34.0, 38.0, 1)]


def test_only_allowed_classes_are_found() -> None:
    given = scores((20, None), (8, 2), (20, None), (8, 1))
    assert found(given, np.arange(20) != 2) == [(24.0, 28.0, 1)]


def model(compressor: torch.nn.Module | None = None) -> CompressedModel:
    torch.manual_seed(0)
    return CompressedModel(lite0_slow(classes=3), [Insertion("res3", compressor or Identity())]).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("family", ["lite0_slow", "lite0_two_stream", "slow_r50", "i3d_inception"])
def test_the_video_is_named_by_its_moments(family: str) -> None:
    torch.manual_seed(0)
    backbone = BACKBONES[family](classes=3).eval()
    network = CompressedModel(backbone, [Insertion(backbone.cuts[-1], Identity())]).eval()
    clip = torch.randn(2, 3, 16, 64, 64)
    with torch.inference_mode():
        features = network.head(clip)
        plain, told = network.finish(features), network.finish(features, need_moments=True)
    assert plain.moments is None
    assert told.moments is not None
    assert len(told.moments) == 2
    torch.testing.assert_close(told.logits, plain.logits, rtol=1e-4, atol=1e-5)
    assert network.moment_classifier is not None
    torch.testing.assert_close(
        network.moment_classifier.join_moments(told.of_video(1).moments[0][None]),  # type: ignore[index]
        plain.logits[1:],
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_network_that_names_no_moments_says_so() -> None:
    backbone = BACKBONES["r3d_18"](classes=3).eval()
    network = CompressedModel(backbone, [Insertion(backbone.cuts[-1], Identity())])
    assert network.moment_classifier is None
    with pytest.raises(ValueError, match="not its moments"):
        network.finish(torch.zeros(1, 512, 1, 2, 2), need_moments=True)


def test_moments_cover_the_video() -> None:
    output = ModelOutput(torch.zeros(1, 3), (None,), moments=(torch.zeros(3, 3),))
    told = moment_scores(model(), output, np.arange(12) / 10)
    assert told.starts_s == pytest.approx([0.0, 0.4, 0.8])
    assert told.ends_s == pytest.approx([0.4, 0.8, 1.2])


def test_behind_a_compressor_moments_are_where_its_frames_come_from() -> None:
    weights = torch.zeros(1, 4, 40)
    weights[0, [0, 1, 2, 3], [30, 31, 8, 9]] = 1.0
    logits = torch.arange(12.0).view(4, 3)
    told = moment_scores(model(SFC(40)), ModelOutput(torch.zeros(1, 3), (weights,), moments=(logits,)), np.arange(40.0))
    assert told.logits[:, 0].tolist() == [6, 9, 0, 3]
    assert told.starts_s == pytest.approx([7.0, 8.5, 29.5, 30.5])
    assert told.ends_s == pytest.approx([8.5, 9.5, 30.5, 32.0])


def test_a_compressor_that_goes_on_in_step_is_not_where_it_looks_elsewhere() -> None:
    weights = torch.zeros(1, 3, 40)
    weights[0, :, 20:26] = 0.01
    weights[0, [0, 1, 2], [20, 20, 25]] = 0.95
    output = ModelOutput(torch.zeros(1, 3), (weights,), moments=(torch.zeros(3, 3),))
    told = moment_scores(model(SalientSFC(40, pooling="average")), output, np.arange(40.0))
    assert told.starts_s == pytest.approx([18.5, 21.5, 23.5])
    assert told.ends_s == pytest.approx([21.5, 23.5, 26.5])


def test_stretches_hold_every_frame_once() -> None:
    info = VideoInfo("a", 2, 2, 0, 10.0, None, None, "h264", "mp4", 1)

    def chunks() -> Iterator[Frames]:
        for first in range(0, 11, 4):
            numbers = np.arange(first, min(11, first + 4))
            yield Frames(np.zeros((len(numbers), 2, 2, 3), np.uint8), numbers / 10, numbers, info)

    stretches = [[part.indices.tolist() for part in stretch] for stretch in cut_frames(chunks(), 5)]
    assert stretches == [[[0, 1, 2, 3], [4]], [[5, 6, 7], [8, 9]], [[10]]]


def test_a_long_video_is_passed_whole_in_stretches(tmp_path: Path, clip: Path) -> None:
    manifest = make_tiny_model(tmp_path, stride=1)
    with vidcomp.load(manifest, moments=True) as whole:
        expected = whole.classify(clip)
    manifest.write_text(manifest.read_text() + "max_frames: 25\n")
    with vidcomp.load(manifest, moments=True) as in_stretches:
        prediction = in_stretches.classify(clip)
    assert (prediction.strategy, prediction.frames.used) == ("stretches", 60)
    assert prediction.passes is not None
    assert prediction.passes.count == 3
    assert prediction.top is not None
    assert expected.top is not None
    assert prediction.top.label == expected.top.label
    assert prediction.top.probability == pytest.approx(expected.top.probability, abs=0.02)
    assert expected.moments is not None
    assert prediction.moments is not None


def test_windows_stand_in_for_moments(tmp_path: Path, clip: Path) -> None:
    manifest = make_tiny_model(tmp_path, stride=1)
    named = parse_strategy("whole")
    from vidcomp.zoo.build import load_model

    loaded = load_model(manifest, named.variant)
    loaded.network.segments[-1][-1] = _Plain(loaded.network.segments[-1][-1])  # type: ignore[index,operator]
    with Classifier(loaded, moments=True) as classifier:
        prediction = classifier.classify(clip)
    assert prediction.moments is not None
    assert [window.end_s for window in prediction.windows] == pytest.approx([2.0, 2.4])
    assert "tiny cannot tell moments apart: windows of 2 s were passed" in prediction.notes


class _Plain(torch.nn.Module):
    def __init__(self, stage: torch.nn.Module) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.stage(features)
        return result


def test_dense_views_know_no_moments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dense views \\(dense30\\)"):
        vidcomp.load(make_tiny_model(tmp_path), strategy="dense30", moments=True)


def test_without_being_asked_nothing_is_said(tmp_path: Path, clip: Path) -> None:
    with vidcomp.load(make_tiny_model(tmp_path, stride=1)) as classifier:
        prediction = classifier.classify(clip)
    assert prediction.moments is None
    assert "moments" not in prediction.to_dict()


def test_moments_in_the_record(tmp_path: Path, clip: Path) -> None:
    manifest = make_tiny_model(tmp_path, stride=1)
    weights = load_file(tmp_path / "tiny.safetensors")
    weights["stages.classifier.linear.bias"] = torch.tensor([0.0, 20.0, 0.0])
    save_file(weights, tmp_path / "tiny.safetensors")
    with vidcomp.load(manifest, moments=True) as classifier:
        prediction = classifier.classify(clip)
        short = classifier.classify(clips.make_clip(tmp_path / "one.mp4", 1))
    (moment,) = prediction.to_dict()["moments"]
    assert moment == {
        "start_s": 0.0,
        "end_s": pytest.approx(2.4),
        "label": "run",
        "index": 1,
        "probability": pytest.approx(1.0),
    }
    assert prediction.at_least(0.9).moments == prediction.moments
    assert short.moments == ()
    with vidcomp.load(manifest, moments=True, only=["jump", "swim"]) as classifier:
        assert classifier.classify(clip).moments == ()


def written(file: Path, pictures: list[NDArray[np.uint8]]) -> str:
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "23"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return str(file)


def test_nothing_is_found_where_nothing_is_shown(tmp_path: Path) -> None:
    black = [np.zeros((240, 320, 3), np.uint8)] * 100
    with vidcomp.load("ucf16-lite0", device="cpu", moments=True) as classifier:
        prediction = classifier.classify(written(tmp_path / "black.mp4", black))
    assert prediction.moments == ()
    assert prediction.top is not None


@pytest.mark.slow
@pytest.mark.shared_data
def test_actions_at_the_start_and_the_end_of_footage_without_any(tmp_path: Path, shared_data: Path) -> None:
    def pictures(path: Path) -> list[NDArray[np.uint8]]:
        with av.open(str(path)) as container:
            return [frame.reformat(320, 240, format="rgb24").to_ndarray() for frame in container.decode(video=0)][:100]

    first, last = (
        pictures(sorted((shared_data / "ucf16" / "val" / name).iterdir())[0]) for name in ("PushUps", "Surfing")
    )
    streets = [one for path in sorted((shared_data / "fights" / "val" / "noFight").iterdir()) for one in pictures(path)]
    with vidcomp.load("ucf16-lite0", device="cpu", moments=True) as classifier:
        none = classifier.classify(written(tmp_path / "none.mp4", streets[:300]))
        two = classifier.classify(written(tmp_path / "two.mp4", [*first, *streets[:200], *last]))
    assert none.moments == ()
    assert two.moments is not None
    assert [part.label.label for part in two.moments] == ["PushUps", "Surfing"]
    assert two.moments[0].start_s < 1 < 3 < two.moments[0].end_s < 5
    assert 11 < two.moments[1].start_s < 13 < 15 < two.moments[1].end_s
