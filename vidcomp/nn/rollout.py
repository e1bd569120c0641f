"""Maps of compressors in a row as one (attention rollout: Abnar and Zuidema, ACL 2020, equation 1)."""

from __future__ import annotations

from torch import Tensor

from vidcomp.nn.whole_video import CompressedModel, ModelOutput


def rollout(network: CompressedModel, output: ModelOutput, video: int = 0) -> Tensor | None:
    """The weights (T', T) of a video's last frames over those that entered the first compressor with a map.

    The maps are multiplied. This takes the stages between two compressors for what they are in time, framewise or
    striding, and leaves out how far a temporal kernel there looks around. ``None`` where no compressor has a map.
    """
    weights: Tensor | None = None
    stride = 1
    for attention, at in zip(output.attention, network.temporal_strides, strict=True):
        if attention is None:
            continue
        own = attention[video].float()
        weights = own if weights is None else own @ weights[:: at // stride][: own.shape[1]]
        stride = at
    return weights
