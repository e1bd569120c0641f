"""A model of another modality goes through the same runner and strategies as one of RGB frames."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests import clips
from vidcomp.inference.pending import PendingVideo, VideoOpener
from vidcomp.inference.runner import Runner
from vidcomp.inference.strategies import WholeVideo
from vidcomp.nn.backbones import BACKBONES
from vidcomp.nn.backbones.base import BackboneSpec
from vidcomp.nn.compressors import Identity
from vidcomp.nn.compressors.base import Bucket, Features, Ragged, buckets_of, join_logits
from vidcomp.nn.video_model import ModelOutput, VideoModel, noting_features
from vidcomp.nn.whole_video import CompressedModel, Insertion
from vidcomp.video import DecodeWorker
from vidcomp.video.bitstream import BitstreamOptions, BitstreamReader

SPEC = BackboneSpec(
    2, 1, 4, 4, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), fps=25.0, modalities=("motion", "keyframes"), shortest=6
)


class Motion(VideoModel):
    """Names a video by the mean of its motion vectors (t, H, W, 2) and of its key frames (t, H, W, 3)."""

    def __init__(self, spec: BackboneSpec = SPEC) -> None:
        super().__init__()
        self.spec = spec
        self.seen: list[dict[str, tuple[int, ...]]] = []

    @property
    def input_spec(self) -> BackboneSpec:
        return self.spec

    def encode(self, chunks: Iterable[Any], *, remainder: int | None = None) -> Features:
        parts: list[Tensor] = []
        for chunk in chunks:
            self.seen.append({name: tuple(values.shape) for name, values in chunk.items()})
            means = [values.float().flatten(2).mean(2) for values in chunk.values()]
            parts.append(torch.stack(means, dim=1)[..., None, None])
        return torch.cat(parts, dim=2)

    def finish(
        self, features: Features | Ragged, *, need_attention: bool = False, need_moments: bool = False
    ) -> ModelOutput:
        buckets = buckets_of(features)
        named = []
        for bucket in buckets:
            assert isinstance(bucket.features, Tensor)
            named.append(Bucket(bucket.videos, bucket.features.mean(dim=(2, 3, 4))))
        return ModelOutput(join_logits(named), ())


@dataclass(frozen=True)
class Part:
    """A chunk of a bitstream."""

    data: dict[str, NDArray[Any]]
    seconds: NDArray[np.float64]
    indices: NDArray[np.int64]


def parts(lengths: tuple[int, ...], motion: float = 1.0, keyframes: float = 3.0) -> Iterable[Part]:
    start = 0
    for length in lengths:
        numbers = np.arange(start, start + length)
        data = {
            "keyframes": np.full((length, 4, 8, 3), keyframes, np.float32),
            "residual": np.zeros((length, 4, 8, 3), np.float32),
            "motion": np.full((length, 4, 8, 2), motion, np.float32),
        }
        yield Part(data, numbers / 25.0, numbers)
        start += length


@pytest.mark.parametrize("lengths", [(7,), (4, 3), (1,) * 7])
def test_chunks_of_several_modalities_pass_as_frames_do(lengths: tuple[int, ...]) -> None:
    runner = Runner(Motion(), torch.device("cpu"), precision="fp32")
    outcome = WholeVideo().run(runner, parts(lengths), 0)  # type: ignore[arg-type]
    np.testing.assert_allclose(outcome.probabilities, np.exp([1, 3]) / np.exp([1, 3]).sum(), atol=1e-6)
    assert (outcome.passes.count, outcome.passes.frames) == (1, 7)
    assert (outcome.passes.height, outcome.passes.width) == (4, 8)
    assert outcome.attention is None
    assert outcome.notes == ()
    network = runner.network
    assert isinstance(network, Motion)
    # What the model does not want never reaches it, and no chunk is longer than the device likes.
    assert all(set(seen) == {"motion", "keyframes"} for seen in network.seen)
    assert sum(seen["motion"][1] for seen in network.seen) == 7
    assert max(seen["motion"][1] for seen in network.seen) <= runner.chunk_frames


def test_a_short_video_has_its_last_moment_repeated_in_every_modality() -> None:
    runner = Runner(Motion(), torch.device("cpu"), precision="fp32")
    encoded = WholeVideo().encode(runner, parts((4,)))
    assert encoded.repeated == 2
    assert encoded.seconds.tolist() == [0.0, 0.04, 0.08, 0.12, 0.12, 0.12]
    assert isinstance(encoded.features, Tensor)
    assert encoded.features.shape == (1, 2, 6, 1, 1)


def test_videos_of_different_lengths_are_finished_together() -> None:
    runner = Runner(Motion(), torch.device("cpu"), precision="fp32", videos_at_once=2)
    videos = [
        WholeVideo().encode(runner, parts(lengths, motion)).features for lengths, motion in (((6,), 1), ((9,), 2))
    ]
    one, other = (output.logits[0].tolist() for output in runner.finish(videos))
    assert one == pytest.approx([1, 3])
    assert other == pytest.approx([2, 3])


@pytest.mark.parametrize(("fps", "stride"), [(25.0, 1), (None, 8)])
def test_sampling_follows_what_the_model_wants(fps: float | None, stride: int) -> None:
    spec = replace(SPEC, fps=fps, stride=stride)
    selection = WholeVideo().select(Motion(spec).input_spec, 0)
    assert (selection.fps, selection.stride) == (fps, stride)


@pytest.mark.parametrize(
    ("family", "cut", "frames", "shape"),
    [
        ("i3d_inception", "mixed_5", 120, (2, 14, 1024)),
        ("lite0_two_stream", "res3", 4, (2, 1, 2560)),
        ("x3d_s", "res3", 4, (2, 1, 2048)),
        ("s3d", "res4", 16, (2, 1, 1024)),
    ],
)
def test_noted_features_give_the_logits_through_the_last_layers(
    family: str, cut: str, frames: int, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    network = CompressedModel(BACKBONES[family](classes=3), [Insertion(cut, Identity())]).eval()
    with torch.inference_mode():
        output = noting_features(network, lambda: network(torch.randn(2, 3, frames, 48, 48)))
    assert output.features is not None
    assert output.features.shape == shape
    layers = [(layer.weight.detach().flatten(1), layer.bias.detach()) for layer in network.classifiers]
    weight, bias = torch.cat([w for w, _ in layers], dim=1), torch.stack([b for _, b in layers]).sum(dim=0)  # type: ignore[arg-type]
    logits = network.join_moments(output.features @ weight.T + bias)
    torch.testing.assert_close(logits, output.logits, atol=1e-4, rtol=1e-4)
    assert output.of_video(1).features is not None


BITSTREAM = replace(SPEC, fps=None, modalities=("keyframes", "motion", "mask", "residual", "present"), shortest=1)


def encoded(path: Path, max_frames: int = 4096) -> tuple[PendingVideo, Motion]:
    """A video that a decoding process read for a model of its bitstream."""
    runner = Runner(Motion(replace(BITSTREAM, short_side=96)), torch.device("cpu"), precision="fp32")
    opener = VideoOpener(runner=runner, strategy=None, max_frames=max_frames)
    with DecodeWorker() as worker:
        video = opener.open(worker, str(path))
        opener.check_memory(video)
        video.encode(runner, 0.0)
    assert isinstance(runner.network, Motion)
    return video, runner.network


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.webm", "libvpx-vp9")])
def test_groups_of_pictures_pass_from_the_file_to_the_model(tmp_path: Path, name: str, codec: str) -> None:
    path = clips.make_clip(tmp_path / name, 80, codec=codec, options={"g": "40"})
    video, network = encoded(path)
    assert video.encoded is not None
    assert isinstance(video.encoded.features, Tensor)
    with BitstreamReader(str(path), BitstreamOptions(short_side=96)) as reader:
        groups = list(reader.groups())
    assert video.encoded.seconds.tolist() == [group.anchor_s for group in groups]
    assert video.encoded.indices.tolist() == [group.anchor_index for group in groups]
    assert video.encoded.size == (96, 128)
    assert video.report is not None
    assert video.report.decoded == 80
    assert any("re-encoding it" in note for note in video.report.notes) == (codec == "libvpx-vp9")
    means = video.encoded.features[0, :, :, 0, 0].T.tolist()
    for (anchor, motion, mask, residual, present), group in zip(means, groups, strict=True):
        assert anchor == pytest.approx(group.anchor.mean(), abs=0.01)
        for mean, values in ((motion, group.motion), (mask, group.mask), (residual, group.residual)):
            assert mean == pytest.approx(values.sum() / (11 * math.prod(values.shape[1:])), abs=1e-3)
        assert present == pytest.approx(len(group) / 11)
    assert set(network.seen[0]) == set(BITSTREAM.modalities)


def test_of_a_long_video_one_group_in_several_is_seen(tmp_path: Path) -> None:
    path = clips.make_clip(tmp_path / "a.mp4", 96, options={"g": "12", "bf": "0", "sc_threshold": "0"})
    video, _ = encoded(path, max_frames=40)
    assert video.encoded is not None
    assert video.encoded.indices.tolist() == [0, 36, 72]
    assert video.notes == ("it has 96 frames: only one group of pictures in 3 was looked at",)
