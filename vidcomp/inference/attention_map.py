"""What the compressors of a network attended to in one video, as one map over the frames that entered the first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidcomp.attention import GROUPING, AttentionMap
from vidcomp.nn.video_model import ModelOutput, rollout


def attention_map(
    network: VideoModel, output: ModelOutput, seconds: NDArray[np.float64], indices: NDArray[np.int64]
) -> AttentionMap | None:
    """The map of the pass of one video, whose frames are at ``seconds`` (T,) and have the numbers ``indices`` (T,).

    Maps of compressors in a row are multiplied (:func:`rollout`). ``None`` where no compressor has a map.
    """
    weights = rollout(network, output)
    if weights is None:
        return None
    mapped = [
        (str(compressor.kind), attention[0], stride)
        for compressor, attention, stride in zip(
            network.compressors, output.attention, network.temporal_strides, strict=True
        )
        if attention is not None
    ]
    first_kind, first_map, first = mapped[0]
    grouping = first_map.float().cpu().numpy() if first_kind in GROUPING and len(mapped) > 1 else None
    frames = weights.shape[1]
    return AttentionMap(
        "+".join(kind for kind, _, _ in mapped),
        weights.cpu().numpy(),
        seconds[::first][:frames],
        indices[::first][:frames],
        grouping,
    )
