"""From uint8 frames to the normalised float tensor that a backbone expects, on whichever device they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, device, dtype


def crop_box(width: int, height: int, size: int, position: float) -> tuple[int, int]:
    """Left and top, in pixels, of the square crop of side `size` that a view's `crop` position stands for.

    The position, 0.0 to 1.0, is along the longer side; across the shorter one the crop is central.

    Raises:
        ValueError: the picture is smaller than the crop.
    """
    if size > width or size > height:
        raise ValueError(f"a crop of {size}×{size} does not fit in a picture of {width}×{height}")
    free_x, free_y = width - size, height - size
    # Rounded half up, so that left and right crops are not moved by banker's rounding.
    return (
        (int(free_x * position + 0.5), free_y // 2) if width >= height else (free_x // 2, int(free_y * position + 0.5))
    )


def crop(pixels: NDArray[np.uint8] | Tensor, size: int, position: float = 0.5) -> NDArray[np.uint8] | Tensor:
    """The square crop of (T, H, W, 3) frames, as a view of the same memory: (T, size, size, 3)."""
    height, width = pixels.shape[1:3]
    left, top = crop_box(width, height, size, position)
    return pixels[:, top : top + size, left : left + size]


def to_input(
    pixels: NDArray[np.uint8] | Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    device: device | str | None = None,
    dtype: dtype | None = None,
) -> Tensor:
    """Normalise frames (T, H, W, 3), uint8, into a backbone's input (3, T, H, W): (pixel / 255 - mean) / std.

    The bytes travel to `device` and become numbers there. `dtype` is float32 by default; the arithmetic is done in
    float32 in any case.
    """
    import torch

    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise ValueError(f"mean and std are three numbers each, std above 0; got {tuple(mean)} and {tuple(std)}")
    frames = pixels if isinstance(pixels, torch.Tensor) else torch.from_numpy(pixels)
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise ValueError(f"frames must be uint8 (T, H, W, 3), got {frames.dtype} {tuple(frames.shape)}")
    values = (
        frames.to(device, non_blocking=True)
        .permute(3, 0, 1, 2)
        .to(torch.float32, memory_format=torch.contiguous_format)
    )
    # One multiplication and one addition a pixel: x / (255 std) - mean / std.
    scale = torch.tensor([1.0 / (255.0 * s) for s in std], device=values.device).view(3, 1, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=values.device).view(3, 1, 1, 1)
    return values.mul_(scale).add_(shift).to(dtype or torch.float32)
