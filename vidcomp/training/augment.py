"""Random changes of a clip that keep its action: place, size, mirror image, colour."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidcomp.training.recipe import Recipe


def take_clip(frames: NDArray[np.uint8], length: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """``length`` consecutive frames from a random start; a shorter video has its last frame repeated."""
    last_start = max(0, len(frames) - length)
    start = int(random.integers(0, last_start + 1))
    return frames[np.minimum(np.arange(start, start + length), len(frames) - 1)]


def augment(frames: NDArray[np.uint8], recipe: Recipe, random: np.random.Generator) -> Tensor:
    """One random crop, and where the recipe says so mirroring and change of colour, for a whole clip.

    Args:
        frames: (T, H, W, 3).
        recipe: what may change, and by how much.
        random: where chance comes from.

    Returns:
        Float pixels (3, T, H', W') from 0 to 255; H' and W' follow from the recipe and from H and W alone.
    """
    clip = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()
    if recipe.square is not None:
        clip = _resized_crop(clip, recipe.square, recipe.square, recipe.smallest_area, random)
    else:
        clip = _scaled_crop(clip, recipe.crop, recipe.scale, random)
    if recipe.flip and random.random() < 0.5:
        clip = clip.flip(3)
    if recipe.recolour:
        clip = _recolour(clip, random).clamp(0, 255)
    return clip.transpose(0, 1)


def _scaled_crop(clip: Tensor, share: float, scale: tuple[float, float], random: np.random.Generator) -> Tensor:
    """Enlarge by a random factor and crop ``share`` of the sides before that (SFC paper, section 4).

    Cropping first gives the same pixels for less work.
    """
    full_height, full_width = clip.shape[2:]
    height, width = max(1, round(share * full_height)), max(1, round(share * full_width))
    factor = random.uniform(*scale)
    crop_height, crop_width = max(1, round(height / factor)), max(1, round(width / factor))
    top = int(random.integers(0, full_height - crop_height + 1))
    left = int(random.integers(0, full_width - crop_width + 1))
    clip = clip[:, :, top : top + crop_height, left : left + crop_width]
    return clip if clip.shape[2:] == (height, width) else F.interpolate(clip, size=(height, width), mode="bilinear")


def _resized_crop(clip: Tensor, height: int, width: int, smallest: float, random: np.random.Generator) -> Tensor:
    full_height, full_width = clip.shape[2:]
    area = random.uniform(smallest, 1.0) * full_height * full_width
    shape = width / height * math.exp(random.uniform(math.log(0.75), math.log(4 / 3)))
    crop_height = min(full_height, max(1, round(math.sqrt(area / shape))))
    crop_width = min(full_width, max(1, round(math.sqrt(area * shape))))
    top = int(random.integers(0, full_height - crop_height + 1))
    left = int(random.integers(0, full_width - crop_width + 1))
    clip = clip[:, :, top : top + crop_height, left : left + crop_width]
    return F.interpolate(clip, size=(height, width), mode="bilinear", antialias=crop_height > 1.3 * height)


def _recolour(clip: Tensor, random: np.random.Generator) -> Tensor:
    brightness, contrast, saturation = (float(factor) for factor in random.uniform(0.7, 1.3, 3))
    mean = clip.mean()
    clip = (clip - mean) * contrast + mean * brightness
    grey = clip.mean(dim=1, keepdim=True)
    if random.random() < 0.1:
        return grey.expand_as(clip)
    return (clip - grey) * saturation + grey
