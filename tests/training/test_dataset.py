"""Views of videos: the same whoever makes them, and whether or not there is room to keep them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vidcomp.inference.classifier import Classifier
from vidcomp.inference.strategies import DenseViews, seen_whole
from vidcomp.nn.whole_video import CompressedModel
from vidcomp.training.cache import TensorCache
from vidcomp.training.compressor import ask, new_compressors
from vidcomp.training.config import BackboneRecipe, CompressorRecipe, Recipe
from vidcomp.training.dataset import Dataset
from vidcomp.training.videos import TrainingVideo, find_training_videos
from vidcomp.video import DecodeOptions, DecodePool, VideoError, open_reader, whole
from vidcomp.video.frames import to_input
from vidcomp.zoo.build import Variant, load_backbone, load_variant, vary
from vidcomp.zoo.manifest import find_manifest

RECIPE = CompressorRecipe(views_cached=2)


@pytest.fixture
def network(tiny: Path) -> CompressedModel:
    manifest = find_manifest(str(tiny))
    return new_compressors(manifest, load_backbone(manifest), RECIPE)


def examples(
    network: CompressedModel,
    pool: DecodePool,
    root: Path,
    limit: float,
    recipe: Recipe = RECIPE,
    *,
    clips: bool = False,
) -> Dataset:
    return Dataset(
        network,
        recipe,
        pool,
        lambda digest: TensorCache(digest, limit, root),
        torch.device("cpu"),
        clips=clips,
        head_trained=False,
        max_frames=4096,
    )


def views(made: Dataset, videos: tuple[TrainingVideo, ...]) -> list[torch.Tensor]:
    found = [made.view(video, np.random.default_rng(seed)).features for video in videos for seed in range(4)]
    return [view for view in found if isinstance(view, torch.Tensor)]


def test_kept_views_are_those_made_anew(network: CompressedModel, folder: Path, tmp_path: Path) -> None:
    videos = find_training_videos(folder).videos[2:5]
    with DecodePool(0) as pool:
        first = examples(network, pool, tmp_path, 1e9)
        assert [error for _, error in first.prepare(videos)] == [None] * 3
        files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
        assert len(files) == 3 * 2
        kept = views(first, videos)
        assert {path: path.stat().st_mtime_ns for path in files} == files
        anew = views(examples(network, pool, tmp_path / "none", 0), videos)
    assert len(kept) == 12
    assert all(torch.equal(one, other) for one, other in zip(kept, anew, strict=True))
    assert not all(torch.equal(kept[0], other) for other in kept[1:4])
    with DecodePool(2) as pool:
        ahead = examples(network, pool, tmp_path / "other", 1e9)
        assert [video for video, _ in ahead.prepare(videos)] == list(videos)
        assert all(torch.equal(one, other) for one, other in zip(kept, views(ahead, videos), strict=True))


def test_other_views_and_other_heads_are_not_mixed_up(network: CompressedModel, folder: Path, tmp_path: Path) -> None:
    videos = find_training_videos(folder).videos[:1]
    with DecodePool(0) as pool:
        first = views(examples(network, pool, tmp_path, 1e9), videos)
        smaller = views(examples(network, pool, tmp_path, 1e9, CompressorRecipe(views_cached=2, crop=0.5)), videos)
        assert smaller[0].shape != first[0].shape
        with torch.no_grad():
            next(network.head.parameters()).mul_(2)
        changed = views(examples(network, pool, tmp_path, 1e9), videos)
    assert not torch.equal(first[0], changed[0])
    assert len(list(tmp_path.glob("vidcomp-*"))) == 3


def test_a_whole_video_is_what_the_network_sees_when_it_classifies(
    network: CompressedModel, folder: Path, tmp_path: Path
) -> None:
    video = find_training_videos(folder).videos[0]
    with DecodePool(0) as pool:
        made = examples(network, pool, tmp_path, 1e9)
        features = made.whole(video, network)
    assert isinstance(features, torch.Tensor)
    spec = network.spec
    with (
        open_reader(video.path, DecodeOptions(spec.short_side, whole(spec.stride, spec.fps))) as reader,
        torch.no_grad(),
    ):
        chunks = (seen_whole(spec, chunk.pixels) for chunk in reader.chunks())
        expected = network.eval().encode(to_input(chunk, spec.mean, spec.std).unsqueeze(0) for chunk in chunks)
    assert features.shape[2] == 5  # 20 frames, every fourth
    torch.testing.assert_close(features, expected, rtol=2e-3, atol=2e-3)


def test_unreadable_videos_are_told_and_long_ones_are_cut(
    network: CompressedModel, folder: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_text("not a video")
    good = find_training_videos(folder).videos[0]
    short = CompressorRecipe(views_cached=1, longest=3)
    with DecodePool(1) as pool:
        made = examples(network, pool, tmp_path, 1e9, short)
        found = list(made.prepare([good, TrainingVideo(str(broken), 0)]))
        view = made.view(good, np.random.default_rng(0)).features
    assert isinstance(found[1][1], VideoError)
    assert found[0][1] is None
    assert isinstance(view, torch.Tensor)
    assert view.shape[2] == 3


def test_subsampled_views_are_every_nth_frame_of_the_heads(
    network: CompressedModel, folder: Path, tmp_path: Path
) -> None:
    """A view of n = 2 is two clips long before it is subsampled; at n = 4 it is no longer, and gives half a clip."""
    recipe = BackboneRecipe(
        views_cached=0, crop=1.0, scale=(1.0, 1.0), flip=False, color_jitter=False, background_mix=0.5
    )
    video = find_training_videos(folder).videos[0]
    with DecodePool(0) as pool:
        made = examples(network, pool, tmp_path, 1e9, recipe, clips=True)
        list(made.prepare([video]))
        views = {n: made.view(video, np.random.default_rng(1), n).features for n in (1, 2, 4)}
    lengths = {n: view.shape[2] for n, view in views.items() if isinstance(view, torch.Tensor)}
    clip = network.spec.clip_frames
    assert lengths == {1: clip, 2: clip, 4: -(-2 * clip // 4)}
    assert isinstance(views[2], torch.Tensor)
    assert isinstance(views[4], torch.Tensor)
    torch.testing.assert_close(views[4], views[2][:, :, ::2])


def test_distractors_are_marked_and_kept_with_its_view(network: CompressedModel, folder: Path, tmp_path: Path) -> None:
    video = find_training_videos(folder).videos[0]
    recipe = CompressorRecipe(views_cached=1, distractors=1.0)
    with DecodePool(0) as pool:
        plain = examples(network, pool, tmp_path, 1e9, CompressorRecipe(views_cached=1))
        untouched = plain.view(video, np.random.default_rng(0))
        made = examples(network, pool, tmp_path, 1e9, recipe)
        kept = [made.view(video, np.random.default_rng(seed)) for seed in range(5)]
        made = examples(network, pool, tmp_path / "none", 0, recipe)
        anew = [made.view(video, np.random.default_rng(seed)) for seed in range(5)]
    assert untouched.own is None
    assert isinstance(untouched.features, torch.Tensor)
    for view, again in zip(kept, anew, strict=True):
        assert view.own is not None
        assert again.own is not None
        assert isinstance(view.features, torch.Tensor)
        assert isinstance(again.features, torch.Tensor)
        assert 1 <= int(view.own.sum()) < len(view.own)
        assert torch.equal(view.own, again.own)
        assert torch.equal(view.features, again.features)
        assert torch.equal(view.features[:, :, view.own], untouched.features[:, :, view.own])
        assert not torch.equal(view.features[:, :, ~view.own], untouched.features[:, :, ~view.own])
    assert len({tuple(view.own.tolist()) for view in kept if view.own is not None}) > 1


def test_trainings_of_several_seeds_share_views_where_asked(
    network: CompressedModel, folder: Path, tmp_path: Path
) -> None:
    videos = find_training_videos(folder).videos[:1]
    recipes = [CompressorRecipe(seed=1), CompressorRecipe(seed=2, view_seed=1), CompressorRecipe(seed=2)]
    with DecodePool(0) as pool:
        found = [views(examples(network, pool, tmp_path, 1e9, recipe), videos) for recipe in recipes]
    assert torch.equal(found[0][0], found[1][0])
    assert not torch.equal(found[0][0], found[2][0])
    assert len({file.parent for file in tmp_path.rglob("*.safetensors")}) == 2


@pytest.mark.parametrize("views_cached", [0, 2])
def test_a_head_that_makes_nan_of_a_video_is_told_with_its_name(
    views_cached: int, network: CompressedModel, folder: Path, tmp_path: Path
) -> None:
    video = find_training_videos(folder).videos[0]
    with torch.no_grad():
        next(network.head.parameters()).fill_(torch.nan)
    with DecodePool(0) as pool:
        made = examples(network, pool, tmp_path, 1e9, CompressorRecipe(views_cached=views_cached))
        if views_cached:
            ((_, error),) = made.prepare([video])
            assert str(error).startswith(f"{video.path}: features of frame 0 are NaN or infinite")
        with pytest.raises(VideoError, match="NaN or infinite"):
            made.view(video, np.random.default_rng(0))
        with pytest.raises(VideoError, match="NaN or infinite"):
            made.whole(video, network)


def test_a_teacher_that_makes_nan_of_a_video_has_nothing_to_say_of_it(tiny: Path, folder: Path, tmp_path: Path) -> None:
    teacher = load_variant(vary(find_manifest(str(tiny)), Variant(compressor="none")))
    with torch.no_grad():
        list(teacher.network.segments[-1].parameters())[-1].fill_(torch.nan)
    video = find_training_videos(folder).videos[0]
    with Classifier(teacher, device="cpu", strategy=DenseViews(1, 1)) as classifier:
        with pytest.raises(VideoError) as caught:
            ask(classifier, video.path, TensorCache("x", 1e9, tmp_path))
        failure = classifier.classify(video.path).error
    assert failure is not None
    assert failure.kind == "bad_features"
    assert str(caught.value) == failure.message
    assert failure.message.startswith(video.path)


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text")
def test_a_name_that_is_no_text_is_as_good_as_any(network: CompressedModel, folder: Path, tmp_path: Path) -> None:
    (given := tmp_path / "given" / "run").mkdir(parents=True)
    found = find_training_videos(folder).videos[0]
    Path(os.fsdecode(os.fsencode(given) + b"/caf\xe9.mp4")).write_bytes(Path(found.path).read_bytes())
    videos = find_training_videos(given.parent).videos
    with DecodePool(0) as pool:
        made = examples(network, pool, tmp_path / "kept", 1e9)
        assert [error for _, error in made.prepare(videos)] == [None]
