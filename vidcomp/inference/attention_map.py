"""What the compressors of a network attended to in one video, as one map over the frames that entered the first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidcomp.inference.prediction import GROUPING, AttentionMap
from vidcomp.nn.compressed_model import CompressedModel, ModelOutput


def attention_map(
    network: CompressedModel, output: ModelOutput, seconds: NDArray[np.float64], indices: NDArray[np.int64]
) -> AttentionMap | None:
    """The map of the pass of one video, whose frames are at ``seconds`` (T,) and have the numbers ``indices`` (T,).

    Maps of compressors in a row are multiplied, so that every final frame has its weights over the first compressor's
    input; this takes the stages between two compressors for what they are in time, framewise or striding, and leaves
    out how far a temporal kernel there looks around (attention rollout: Abnar and Zuidema, ACL 2020, equation 1).
    ``None`` where no compressor has a map.
    """
    weights: NDArray[np.float32] | None = None
    grouping: NDArray[np.float32] | None = None
    kinds: list[str] = []
    first = stride = 1
    for compressor, attention, at in zip(network.compressors, output.attention, network.temporal_strides, strict=True):
        if attention is None:
            continue
        own = attention[0].float().cpu().numpy()
        if weights is None:
            weights, first = own, at
        else:
            weights = own @ weights[:: at // stride][: own.shape[1]]
        kinds.append(str(compressor.kind))
        if len(kinds) == 1 and kinds[0] in GROUPING:
            grouping = own
        stride = at
    if weights is None:
        return None
    frames = weights.shape[1]
    return AttentionMap(
        "+".join(kinds),
        weights,
        seconds[::first][:frames],
        indices[::first][:frames],
        grouping if len(kinds) > 1 else None,
    )
