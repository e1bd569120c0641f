"""Augmentation: shapes, ranges, and that chance comes from the generator alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidcomp.training.config import BackboneRecipe, CompressorRecipe, Recipe
from vidcomp.training.views import DISTRACTOR_FRAMES, augment, insert_distractor, make_distractor, take_clip


def numbered(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1) + np.zeros((1, 12, 16, 3), np.uint8)


def test_a_clip_is_consecutive_frames() -> None:
    clip = take_clip(numbered(20), 5, np.random.default_rng(3))
    assert np.diff(clip[:, 0, 0, 0]).tolist() == [1, 1, 1, 1]


def test_a_short_video_has_its_last_frame_repeated() -> None:
    clip = take_clip(numbered(3), 5, np.random.default_rng(0))
    assert clip[:, 0, 0, 0].tolist() == [0, 1, 2, 2, 2]


def test_crops_keep_seven_eighths_of_the_sides_as_in_the_paper() -> None:
    frames = np.zeros((1, 256, 312, 3), np.uint8)
    assert tuple(augment(frames, CompressorRecipe(), np.random.default_rng(0)).shape) == (3, 1, 224, 273)


def test_without_scaling_and_flipping_a_crop_is_a_part_of_the_picture() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 16, 3), dtype=np.uint8)
    recipe = CompressorRecipe(crop=0.5, scale=(1.0, 1.0), flip=False)
    clip = augment(frames, recipe, np.random.default_rng(1)).permute(1, 2, 3, 0).numpy().astype(np.uint8)
    places = [(y, x) for y in range(5) for x in range(9) if np.array_equal(frames[:, y : y + 4, x : x + 8], clip)]
    assert len(places) == 1


@pytest.mark.parametrize(
    "recipe", [BackboneRecipe(random_resized_crop=16), CompressorRecipe(color_jitter=True, crop=0.75)]
)
def test_the_same_chance_gives_the_same_clip(recipe: Recipe) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 24, 32, 3), dtype=np.uint8)
    first, second, other = (augment(frames, recipe, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.min() >= 0
    assert first.max() <= 255
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_all_frames_of_a_clip_are_changed_alike() -> None:
    still = np.random.default_rng(0).integers(0, 256, (1, 24, 32, 3), dtype=np.uint8).repeat(4, axis=0)
    clip = augment(still, BackboneRecipe(random_resized_crop=16), np.random.default_rng(5))
    assert tuple(clip.shape) == (3, 4, 16, 16)
    assert torch.equal(clip[:, 0], clip[:, 3])


PLAIN = BackboneRecipe(random_resized_crop=16, color_jitter=False, flip=False, min_crop_area=1.0)


def variants(recipe: Recipe, frames: np.ndarray, count: int = 40) -> list[torch.Tensor]:
    return [
        augment(frames, recipe, np.random.default_rng(seed), lambda: np.zeros((9, 7, 3), np.uint8))
        for seed in range(count)
    ]


def test_half_of_the_views_are_played_backwards() -> None:
    found = variants(PLAIN.model_copy(update={"reverse": True}), numbered(4))
    orders = [clip[0, :, 0, 0].round().int().tolist() for clip in found]
    assert {tuple(order) for order in orders} == {(0, 1, 2, 3), (3, 2, 1, 0)}


def test_a_wandering_crop_moves_evenly_through_a_still_picture() -> None:
    """A ramp from left to right: where the crop is, is what its middle shows."""
    ramp = np.broadcast_to(np.arange(0, 160, 5, dtype=np.uint8)[None, None, :, None], (5, 24, 32, 3))
    recipe = PLAIN.model_copy(update={"camera_jitter": 0.1, "min_crop_area": 0.3})
    moving = [clip for clip in variants(recipe, ramp) if not torch.equal(clip[:, 0], clip[:, 4])]
    assert 10 < len(moving) < 30
    steps = torch.stack([clip[0, :, 8, 8].diff() for clip in moving])
    # Where the picture's edge is passed it is mirrored, and the ramp turns.
    even = (steps - steps.mean(dim=1, keepdim=True)).abs().amax(dim=1) < 1.0
    assert even.float().mean() > 0.8
    assert steps.abs().amax() > 1


def test_a_background_is_laid_over_every_second_view() -> None:
    """Over white, a black picture of a weight below a half: never darker than gray, the same all over."""
    white = np.full((2, 24, 32, 3), 255, np.uint8)
    shades = variants(PLAIN.model_copy(update={"background_mix": 0.5}), white)
    assert all(float(clip.max() - clip.min()) < 1e-3 for clip in shades)
    darkened = [float(clip.mean()) for clip in shades if float(clip.mean()) < 254.9]
    assert 10 < len(darkened) < 30
    assert 127.5 <= min(darkened) < 180


def test_a_covered_view_has_a_gray_rectangle_for_all_of_its_length() -> None:
    white = np.full((3, 24, 32, 3), 255, np.uint8)
    for clip in variants(PLAIN.model_copy(update={"random_erasing": 1.0}), white, 10):
        gray = (clip == 127).all(dim=0)
        assert torch.equal(gray[0], gray[2])
        rows, columns = gray[0].any(dim=1).sum(), gray[0].any(dim=0).sum()
        assert gray[0].sum() == rows * columns
        assert 3 <= rows <= 8
        assert 3 <= columns <= 8


def test_what_a_recipe_cannot_mean_is_said() -> None:
    for content, about in (
        ({"camera_jitter": 0.1}, "random_resized_crop"),
        ({"background_mix": 0.5, "views_cached": 2}, "views_cached"),
        ({"temporal_subsampling": [2], "views_cached": 2}, "views_cached"),
        ({"temporal_subsampling": [0]}, "at least 1"),
    ):
        with pytest.raises(ValueError, match=about):
            BackboneRecipe.model_validate(content)


PICTURE = np.random.default_rng(0).uniform(0, 255, (3, 30, 41)).astype(np.float32)


@pytest.mark.parametrize("seed", range(40))
def test_footage_is_pixels_as_large_as_the_picture(seed: int) -> None:
    footage = make_distractor(PICTURE, np.random.default_rng(seed))
    assert footage.shape == (3, DISTRACTOR_FRAMES, 30, 41)
    assert footage.dtype == torch.float32
    assert 0 <= footage.min() <= footage.max() <= 255
    torch.testing.assert_close(footage, make_distractor(PICTURE, np.random.default_rng(seed)), rtol=0, atol=0)
    assert not any(np.array_equal(footage[:, t].numpy(), PICTURE) for t in range(DISTRACTOR_FRAMES))


def test_some_footage_stands_still_and_some_moves() -> None:
    made = [make_distractor(PICTURE, np.random.default_rng(seed)) for seed in range(40)]
    still = sum(bool((footage == footage[:, :1]).all()) for footage in made)
    assert 10 <= still <= 30


@pytest.mark.parametrize("frames", [2, 3, 5, 40])
def test_footage_takes_the_place_of_one_stretch_of_frames(frames: int) -> None:
    video = torch.arange(frames, dtype=torch.float32).view(1, 1, frames, 1, 1).expand(1, 2, frames, 3, 4)
    footage = -1 - torch.arange(3, dtype=torch.float32).view(1, 1, 3, 1, 1).expand(1, 2, 3, 3, 4)
    for seed in range(20):
        joined, own = insert_distractor(video, footage, np.random.default_rng(seed))
        replaced = int((~own).sum())
        assert max(1, 0.2 * frames - 1) <= replaced <= min(frames - 1, 0.6 * frames + 1)
        assert int((own[1:] != own[:-1]).sum()) <= 2
        torch.testing.assert_close(joined[:, :, own], video[:, :, own], rtol=0, atol=0)
        shown = joined[0, 0, ~own, 0, 0]
        assert (shown < 0).all()
        assert (shown[1:] != shown[:-1]).all()  # footage goes on, and over again
    assert video.min() == 0


def test_a_single_frame_stays() -> None:
    video = torch.rand(1, 2, 1, 3, 4)
    joined, own = insert_distractor(video, torch.zeros(1, 2, 8, 3, 4), np.random.default_rng(0))
    assert torch.equal(joined, video)
    assert own.tolist() == [True]
