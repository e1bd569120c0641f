"""Random changes of a clip that keep its action: place, size, mirror image, color, background, direction of time.

And footage in which nothing happens, put into videos: what a compressor is to learn to leave out. Title cards,
cutaways, frozen pictures and lost signals stand between the shots that matter. None of the videos at hand need have
them, so they are made: pictures with the colors and textures of real ones and with no content, which stand still, pass
by or flicker.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidcomp.training.config import Recipe


def take_clip(frames: NDArray[np.uint8], length: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """``length`` consecutive frames from a random start; a shorter video has its last frame repeated."""
    last_start = max(0, len(frames) - length)
    start = int(random.integers(0, last_start + 1))
    return frames[np.minimum(np.arange(start, start + length), len(frames) - 1)]


def augment(
    frames: NDArray[np.uint8],
    recipe: Recipe,
    random: np.random.Generator,
    still: Callable[[], NDArray[np.uint8]] | None = None,
) -> Tensor:
    """Change a whole clip as the recipe says: one random crop, mirroring, color and the like.

    Args:
        frames: (T, H, W, 3).
        recipe: what may change, and by how much.
        random: where chance comes from.
        still: gives a picture (H, W, 3) of another video, where the recipe has a ``background_mix``.

    Returns:
        Float pixels (3, T, H', W') from 0 to 255; H' and W' follow from the recipe and from H and W alone.
    """
    if recipe.reverse and random.random() < 0.5:
        frames = frames[::-1]
    clip = _as_clip(frames)
    if recipe.random_resized_crop is None:
        clip = _scaled_crop(clip, recipe.crop, recipe.scale, random)
    elif recipe.camera_jitter and random.random() < 0.5:
        clip = _wandering_crop(clip, recipe.random_resized_crop, recipe.min_crop_area, recipe.camera_jitter, random)
    else:
        clip = _resized_crop(clip, recipe.random_resized_crop, recipe.random_resized_crop, recipe.min_crop_area, random)
    if recipe.flip and random.random() < 0.5:
        clip = clip.flip(3)
    if recipe.background_mix and still is not None and random.random() < 0.5:
        clip = clip.lerp(_resized(_as_clip(still()[None]), clip), random.uniform(0, recipe.background_mix))
    if recipe.color_jitter:
        clip = _color_jitter(clip, random).clamp(0, 255)
    if recipe.random_erasing and random.random() < recipe.random_erasing:
        clip = _random_erasing(clip, random)
    return clip.transpose(0, 1)


def _as_clip(frames: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()


def _resized(picture: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(picture, size=(like.shape[2], like.shape[3]), mode="bilinear", antialias=True)


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
    tall, broad = _random_box(full_height, full_width, width / height, smallest, random)
    crop_height, crop_width = max(1, round(tall)), max(1, round(broad))
    top = int(random.integers(0, full_height - crop_height + 1))
    left = int(random.integers(0, full_width - crop_width + 1))
    clip = clip[:, :, top : top + crop_height, left : left + crop_width]
    return F.interpolate(clip, size=(height, width), mode="bilinear", antialias=crop_height > 1.3 * height)


def _random_box(
    full_height: int, full_width: int, shape: float, smallest: float, random: np.random.Generator
) -> tuple[float, float]:
    """Height and width of a box of random area and of about the ``shape``, width over height, within the picture."""
    area = random.uniform(smallest, 1.0) * full_height * full_width
    shape *= math.exp(random.uniform(math.log(0.75), math.log(4 / 3)))
    return min(full_height, math.sqrt(area / shape)), min(full_width, math.sqrt(area * shape))


def _wandering_crop(clip: Tensor, side: int, smallest: float, drift: float, random: np.random.Generator) -> Tensor:
    """A square crop that moves and zooms evenly through the clip, as a camera does; beyond the picture it mirrors it.

    Networks that see motion else learn which places were filmed from the hand.
    """
    count, _, full_height, full_width = clip.shape
    tall, broad = _random_box(full_height, full_width, 1.0, smallest, random)
    height, width = tall / full_height, broad / full_width
    moves_down, moves_right, zooms = random.normal(0, (drift, drift, 1.6 * drift))
    middle_y, middle_x = random.uniform(height / 2, 1 - height / 2), random.uniform(width / 2, 1 - width / 2)
    time = torch.linspace(-0.5, 0.5, count)
    boxes = torch.zeros(count, 2, 3)
    boxes[:, 0, 0], boxes[:, 0, 2] = width * (1 + zooms * time), 2 * (middle_x + moves_right * time) - 1
    boxes[:, 1, 1], boxes[:, 1, 2] = height * (1 + zooms * time), 2 * (middle_y + moves_down * time) - 1
    places = F.affine_grid(boxes, [count, 3, side, side], align_corners=False)
    return F.grid_sample(clip, places, padding_mode="reflection", align_corners=False)


def _random_erasing(clip: Tensor, random: np.random.Generator) -> Tensor:
    """The same rectangle of every frame gray."""
    (height, width), shares = clip.shape[2:], random.uniform(0.2, 0.5, 2)
    tall, broad = max(1, round(height * shares[0])), max(1, round(width * shares[1]))
    top, left = int(random.integers(0, height - tall + 1)), int(random.integers(0, width - broad + 1))
    clip = clip.clone()
    clip[:, :, top : top + tall, left : left + broad] = 127.0
    return clip


def _color_jitter(clip: Tensor, random: np.random.Generator) -> Tensor:
    brightness, contrast, saturation = (float(factor) for factor in random.uniform(0.7, 1.3, 3))
    mean = clip.mean()
    clip = (clip - mean) * contrast + mean * brightness
    gray = clip.mean(dim=1, keepdim=True)
    if random.random() < 0.1:
        return gray.expand_as(clip)
    return (clip - gray) * saturation + gray


# Frames of footage that are made for a view; they are repeated where more are wanted.
DISTRACTOR_FRAMES = 8
# Share of a video's frames that footage takes the place of.
_SHARE = (0.2, 0.6)


def make_distractor(picture: NDArray[np.float32], random: np.random.Generator) -> Tensor:
    """Footage without any action: pixels (3, 8, H, W) from 0 to 255, as large as ``picture`` (3, H, W).

    It is a card of one color or two, noise, clouds, or the picture with its parts in another order; half of it stands
    still, the rest moves through the frame, and noise may be another in every frame.
    """
    kind = random.integers(4)
    make = (_card, _noise, _clouds, _shuffled)[kind]
    still = make(picture, random)
    if kind == 1 and random.random() < 0.75:
        frames = [make(picture, random) for _ in range(DISTRACTOR_FRAMES)]
    elif random.random() < 0.5:
        frames = [still] * DISTRACTOR_FRAMES
    else:
        down, right = random.normal(0, 0.04, 2) * picture.shape[1:]
        frames = [np.roll(still, (round(down * t), round(right * t)), (1, 2)) for t in range(DISTRACTOR_FRAMES)]
    return torch.from_numpy(np.stack(frames, axis=1).clip(0, 255))


def insert_distractor(features: Tensor, footage: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Let footage (1, C, t, H, W) take the place of a random stretch of a video's frames (1, C, T, H, W).

    Returns:
        The features, and which of the T frames are the video's own (T,). A single frame stays.
    """
    frames = features.shape[2]
    count = min(frames - 1, max(1, round(frames * random.uniform(*_SHARE))))
    own = torch.ones(frames, dtype=torch.bool, device=features.device)
    if count < 1:
        return features, own
    start = int(random.integers(0, frames - count + 1))
    first = int(random.integers(footage.shape[2]))
    chosen = torch.arange(first, first + count, device=footage.device) % footage.shape[2]
    own[start : start + count] = False
    joined = features.clone()
    joined[:, :, ~own] = footage[:, :, chosen].to(features.dtype)
    return joined, own


def _card(picture: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """One color that turns into another from one side to the other; every second card has one alone."""
    one, other = random.uniform(0, 255, (2, 3, 1, 1))
    if random.random() < 0.5:
        other = one
    place = np.linspace(0, 1, picture.shape[2])[None, None]
    return np.broadcast_to(one + (other - one) * place, picture.shape).astype(np.float32)


def _noise(picture: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Grains of 1 to 8 pixels, gray or colored."""
    grain = int(random.integers(1, 9))
    return _enlarged(picture, random, -(-max(picture.shape[1:]) // grain), "nearest")


def _clouds(picture: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Soft spots, 2 to 12 of them along a side."""
    return _enlarged(picture, random, int(random.integers(2, 13)), "bilinear")


def _enlarged(picture: NDArray[np.float32], random: np.random.Generator, cells: int, mode: str) -> NDArray[np.float32]:
    colors = 3 if random.random() < 0.5 else 1
    values = torch.from_numpy(random.uniform(0, 255, (1, colors, cells, cells)).astype(np.float32))
    grown = F.interpolate(values, size=picture.shape[1:], mode=mode)[0]
    enlarged: NDArray[np.float32] = grown.expand(picture.shape).numpy()
    return enlarged


def _shuffled(picture: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """The picture cut into 3 × 3 to 8 × 8 parts, each at the place of another: its colors without its content."""
    parts = int(random.integers(3, 9))
    height, width = (max(1, side // parts) for side in picture.shape[1:])
    shuffled: NDArray[np.float32] = picture.copy()
    places = [(row, column) for row in range(parts) for column in range(parts)]
    for (row, column), number in zip(places, random.permutation(len(places)), strict=True):
        from_row, from_column = places[number]
        shuffled[:, row * height : (row + 1) * height, column * width : (column + 1) * width] = picture[
            :, from_row * height : (from_row + 1) * height, from_column * width : (from_column + 1) * width
        ]
    return shuffled
