"""A small picture of a video, as JPEG."""

from __future__ import annotations

import torch

from vidcomp.video import DecodeOptions, DecodeWorker, Selection, VideoError

_SHORT_SIDE = 96
_QUALITY = 80


def thumbnail(path: str, worker: DecodeWorker) -> bytes | None:
    """A JPEG of the video's middle frame, 96 pixels on its shorter side; ``None`` if it cannot be decoded."""
    # torchvision takes long to import.
    from torchvision.io import encode_jpeg

    try:
        info = worker.probe(path, count=False)
        middle = (info.expected_frames or 1) // 2
        with worker.open(path, DecodeOptions(_SHORT_SIDE, Selection(indices=tuple(sorted({0, middle}))))) as reader:
            pixels = [chunk.pixels[-1] for chunk in reader.chunks() if len(chunk)]
    except VideoError:
        return None
    if not pixels:
        return None
    picture = torch.from_numpy(pixels[-1].copy()).permute(2, 0, 1).contiguous()
    return bytes(encode_jpeg(picture, quality=_QUALITY).numpy().tobytes())
