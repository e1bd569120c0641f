"""Augmentation: shapes, ranges, and that chance comes from the generator alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidcomp.training.augment import augment, take_clip
from vidcomp.training.recipe import BackboneRecipe, CompressorRecipe, Recipe


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


@pytest.mark.parametrize("recipe", [BackboneRecipe(square=16), CompressorRecipe(recolour=True, crop=0.75)])
def test_the_same_chance_gives_the_same_clip(recipe: Recipe) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 24, 32, 3), dtype=np.uint8)
    first, second, other = (augment(frames, recipe, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.min() >= 0
    assert first.max() <= 255
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_all_frames_of_a_clip_are_changed_alike() -> None:
    still = np.random.default_rng(0).integers(0, 256, (1, 24, 32, 3), dtype=np.uint8).repeat(4, axis=0)
    clip = augment(still, BackboneRecipe(square=16), np.random.default_rng(5))
    assert tuple(clip.shape) == (3, 4, 16, 16)
    assert torch.equal(clip[:, 0], clip[:, 3])
