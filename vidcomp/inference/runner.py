"""A network on its device: uint8 frames in, probabilities out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidcomp.nn.compressed_model import CompressedModel, ModelOutput
from vidcomp.nn.folding import fold_batchnorm
from vidcomp.video.transforms import to_input

# Frames of a head's chunk. Small ones stay in a CPU's cache, which is faster than one large pass; a GPU wants more.
_CHUNK_FRAMES = {"cpu": 8, "cuda": 64}


def choose_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a device.

    Raises:
        ValueError: CUDA is asked for where there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("--device cuda: this machine has no usable CUDA device; use --device cpu or auto")
    return torch.device(name)


class Runner:
    """Runs a compressed model on batches of frames, with BatchNorm folded and memory laid out for the device."""

    def __init__(self, network: CompressedModel, device: torch.device) -> None:
        fold_batchnorm(network.eval())
        self.network = network.to(device).to(memory_format=torch.channels_last_3d)
        self.spec = network.spec
        self.device = device
        self.chunk_frames = _CHUNK_FRAMES.get(device.type, 32)

    def tensor(self, pixels: NDArray[np.uint8] | Tensor) -> Tensor:
        """Bring frames (T, H, W, 3) to the device as a normalised clip (1, 3, T, H, W)."""
        clip = to_input(pixels, self.spec.mean, self.spec.std, device=self.device).unsqueeze(0)
        return clip.contiguous(memory_format=torch.channels_last_3d)

    def whole(self, chunks: Iterable[NDArray[np.uint8]]) -> ModelOutput:
        """Classify one video from its consecutive chunks of frames (t, H, W, 3), with its attention."""
        with torch.inference_mode():
            features = self.network.encode(self.tensor(part) for chunk in chunks for part in self._split(chunk))
            return self.network.finish(features, need_attention=True)

    def probabilities(self, clips: Tensor) -> Tensor:
        """Probabilities (N, classes) of clips (N, 3, T, H, W) passed through the network whole."""
        with torch.inference_mode():
            output: ModelOutput = self.network(clips)
            return output.logits.softmax(dim=1)

    def synchronise(self) -> None:
        """Wait for the device, so that clocks read true."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _split(self, chunk: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        for start in range(0, len(chunk), self.chunk_frames):
            yield chunk[start : start + self.chunk_frames]
