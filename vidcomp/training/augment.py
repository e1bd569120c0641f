"""Random changes of a clip that keep its action: place, size, mirror image, colour."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def take_clip(frames: NDArray[np.uint8], length: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """``length`` consecutive frames from a random start; a shorter video has its last frame repeated."""
    last_start = max(0, len(frames) - length)
    start = int(random.integers(0, last_start + 1))
    return frames[np.minimum(np.arange(start, start + length), len(frames) - 1)]


def augment(frames: NDArray[np.uint8], height: int, width: int, smallest: float, random: np.random.Generator) -> Tensor:
    """One random crop, mirroring and change of colour for a whole clip.

    Args:
        frames: (T, H, W, 3).
        height: of the result, in pixels.
        width: of the result, in pixels.
        smallest: least share of the picture's area that the crop keeps.
        random: where chance comes from.

    Returns:
        Float pixels (3, T, height, width) from 0 to 255.
    """
    clip = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()
    clip = _crop(clip, height, width, smallest, random)
    if random.random() < 0.5:
        clip = clip.flip(3)
    return _recolour(clip, random).clamp(0, 255).transpose(0, 1)


def _crop(clip: Tensor, height: int, width: int, smallest: float, random: np.random.Generator) -> Tensor:
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
