"""SFC's queries chosen by saliency: runs of frames in which something may be going on, as they are.

Not the paper's. Its attention is to leave out what does not matter, but a network with temporal kernels loses more by
frames that it sees out of step than SFC saves it. So here a small network scores each frame by what the head's first
layers say of it, and all frames whose score is near the highest are kept, in runs that fall on the steps of the tail's
strides. Each attends to itself alone: the map is one of zeros and ones, and what is kept passes the tail as it would if
nothing were missing. How many frames are kept is the video's own: all of one that shows an action throughout, a tenth
of one that shows it for a moment.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.nn.compressors.base import Compressed, Features, Ragged
from vidcomp.nn.compressors.sfc import RatioCompressor

# Nats below the highest score from which on a block is left out, and the score beyond which all are equally certain.
_NEAR = 6.0
_CERTAIN = 8.0
_SMOOTHED = 5  # blocks over which scores are averaged
_WIDTH = 32
_KERNEL = 9
_AROUND = 25  # frames over which the network looks around a frame, beside what its kernels see
_FRAMES_AT_ONCE = 8  # whose statistics are taken together


class SaliencyNetwork(nn.Module):
    """Scores of frames by their channels' mean, maximum and deviation over the picture, and those of frames around."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3 * channels))
        self.register_buffer("deviation", torch.ones(3 * channels))
        self.reduce = nn.Conv1d(3 * channels, _WIDTH, 1)
        self.mix = nn.Conv1d(_WIDTH, _WIDTH, _KERNEL, padding=_KERNEL // 2)
        self.score = nn.Conv1d(2 * _WIDTH, 1, 1)

    def forward(self, statistics: Tensor, dropout: float = 0.0) -> Tensor:
        """Map statistics (N, T, 3C) of :func:`picture_statistics` to scores (N, T): log-odds of an action."""
        scaled = F.dropout((torch.log1p(statistics) - self.mean) / self.deviation, dropout)
        own = F.relu(self.mix(F.relu(self.reduce(scaled.transpose(1, 2)))))
        around = F.avg_pool1d(F.pad(own, (_AROUND // 2, _AROUND // 2), mode="replicate"), _AROUND, 1)
        scores: Tensor = self.score(torch.cat([own, around], dim=1))
        return scores[:, 0]


def picture_statistics(features: Tensor) -> Tensor:
    """Mean, maximum and standard deviation over the picture (N, T, 3C) of features (N, C, T, H, W)."""
    parts = [
        torch.cat([part.mean((3, 4)), part.amax((3, 4)), part.std((3, 4))], dim=1).transpose(1, 2)
        for part in (some.float() for some in features.split(_FRAMES_AT_ONCE, dim=2))
    ]
    return torch.cat(parts, dim=1)


class SalientFrames(RatioCompressor):
    """Keep the runs of frames that are about as salient as the video's most salient ones, at most T/τ frames in all."""

    def __init__(self, channels: int, tau: float = 1.0, block: int = 1) -> None:
        """Build it for features of ``channels`` channels, none of them negative.

        Args:
            channels: C at the cut.
            tau: of T frames, T/τ are kept at most.
            block: frames that are kept or left out together: the product of the tail's strides in time.

        Raises:
            ValueError: ``tau`` or ``block`` is less than 1.
        """
        super().__init__()
        self.tau = tau
        if isinstance(block, bool) or not isinstance(block, int) or block < 1:
            raise ValueError(f"block must be a number of frames, at least 1, not {block!r}")
        self.block = block
        self.network = SaliencyNetwork(channels)

    def forward(self, features: Tensor, *, need_attention: bool = False) -> Compressed:
        """Compress (N, C, T, H, W) to N videos (1, C, T', H, W); attention: N maps (T', T), a single 1 in each row."""
        if features.is_meta:  # nobody knows: all that could be kept
            most = features[:, :, : self.kept_frames(features.shape[2])]
            return Compressed(Ragged(tuple(video.unsqueeze(0) for video in most)))
        # Half floats have too few digits for what is next to the highest score.
        with torch.autocast(features.device.type, enabled=False):
            scores = self.network(picture_statistics(features))
        kept = [self.chosen(of_video) for of_video in scores]
        videos: tuple[Features, ...] = tuple(
            video[None].index_select(2, frames) for video, frames in zip(features, kept, strict=True)
        )
        if not need_attention:
            return Compressed(Ragged(videos))
        return Compressed(Ragged(videos), tuple(torch.eye(features.shape[2]).to(scores)[frames] for frames in kept))

    def chosen(self, scores: Tensor) -> Tensor:
        """The numbers (T',) of the frames that are kept, by their scores (T,)."""
        blocks = torch.stack([part.mean() for part in scores.split(self.block)])
        beside = min(_SMOOTHED // 2, len(blocks) - 1)
        if beside:
            padded = F.pad(blocks[None], (beside, beside), mode="replicate")
            blocks = F.avg_pool1d(padded, 2 * beside + 1, 1)[0]
        blocks = blocks.clamp(max=_CERTAIN)
        most = max(1, self.kept_frames(len(scores)) // self.block) if self.tau > 1 else len(blocks)
        ranked = blocks.argsort(descending=True, stable=True)[:most]
        ranked = ranked[blocks[ranked] >= blocks[ranked[0]] - _NEAR]
        numbers = torch.arange(len(scores), device=scores.device).split(self.block)
        return torch.cat([numbers[number] for number in ranked.sort().values.tolist()])
