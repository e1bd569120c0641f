"""SFC's queries chosen by saliency: runs of frames in which something may be going on, as they are.

Not the paper's. Its attention is to leave out what does not matter, but a network with temporal kernels loses more by
frames that it sees out of step than SFC saves it. So here a small network scores each frame by what the head's first
layers say of it, and all frames whose score is near the highest are kept, in runs that fall on the steps of the tail's
strides. Each attends to itself alone: the map is one of zeros and ones, and what is kept passes the tail as it would if
nothing were missing. How many frames are kept is the video's own: all of one that shows an action throughout, a tenth
of one that shows it for a moment.

Or the paper's SFC follows, among the frames that are kept: of a clip it makes what it would without, and in a long
video it sees the action alone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcomp.nn.compressors.base import Compressed, Features, Ragged
from vidcomp.nn.compressors.sfc import SFC, RatioCompressor

# Nats below the highest score from which on a block is left out, the score beyond which all are equally certain, and
# that below which a block is nothing, whatever the others are.
_NEAR = 8.0
_CERTAIN = 14.0
_NOTHING = -7.0
_SMOOTHED = 9  # blocks over which scores are averaged
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
        self.register_buffer("mean", torch.empty(3 * channels))
        self.register_buffer("deviation", torch.empty(3 * channels))
        self.reduce = nn.Conv1d(3 * channels, _WIDTH, 1)
        self.mix = nn.Conv1d(_WIDTH, _WIDTH, _KERNEL, padding=_KERNEL // 2)
        self.score = nn.Conv1d(2 * _WIDTH, 1, 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Take statistics as they are; the layers have their own beginnings."""
        self.mean.zero_()
        self.deviation.fill_(1.0)

    def forward(self, statistics: Tensor, dropout: float = 0.0) -> Tensor:
        """Map statistics (N, T, 3C) of :func:`picture_statistics` to scores (N, T): log-odds of an action."""
        scaled = F.dropout((signed_log(statistics) - self.mean) / self.deviation, dropout)
        own = F.relu(self.mix(F.relu(self.reduce(scaled.transpose(1, 2)))))
        around = F.avg_pool1d(F.pad(own, (_AROUND // 2, _AROUND // 2), mode="replicate"), _AROUND, 1)
        scores: Tensor = self.score(torch.cat([own, around], dim=1))
        return scores[:, 0]


def signed_log(values: Tensor) -> Tensor:
    """log(1 + x) of what is positive, and of the size of what is negative."""
    return values.sign() * torch.log1p(values.abs())


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
        """Build it for features of ``channels`` channels.

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
        kept = [self.chosen(of_video) for of_video in scores_of(self.network, features)]
        videos: tuple[Features, ...] = tuple(
            video[None].index_select(2, frames) for video, frames in zip(features, kept, strict=True)
        )
        if not need_attention:
            return Compressed(Ragged(videos))
        every = torch.eye(features.shape[2], device=features.device)
        return Compressed(Ragged(videos), tuple(every[frames] for frames in kept))

    def chosen(self, scores: Tensor) -> Tensor:
        """The numbers (T',) of the frames that are kept, by their scores (T,)."""
        return salient(scores, self.block, self.kept_frames(len(scores)) if self.tau > 1 else None)


class SalientSFC(SFC):
    """SFC of each run of frames that are salient: the others are neither queries nor attended to."""

    def __init__(self, channels: int, **options: Any) -> None:
        """Build it for features of ``channels`` channels; options and errors are those of :class:`SFC`."""
        super().__init__(channels, **options)
        self.network = SaliencyNetwork(channels)
        self.in_step = self.pooling in ("even", "average", "max")

    def forward(self, features: Tensor, *, need_attention: bool = False) -> Compressed:
        """Compress (N, C, T, H, W) to T/τ of what is salient; the map has zeros for what is not."""
        frames = features.shape[2]
        if features.is_meta:  # nobody knows: all of them
            every = super().forward(features).features
            assert isinstance(every, Tensor)
            return Compressed(Ragged(every.split(1)))
        # What is rather an action than not is never left out, however salient another is.
        kept = [salient(of_video, certain=_NEAR) for of_video in scores_of(self.network, features)]
        if all(len(numbers) == frames for numbers in kept):
            return super().forward(features, need_attention=need_attention)
        results = [
            self._of_runs(video[None], numbers, need_attention) for video, numbers in zip(features, kept, strict=True)
        ]
        maps = tuple(weights for _, weights in results)
        return Compressed(Ragged(tuple(video for video, _ in results)), maps if need_attention else None)

    def _of_runs(self, video: Tensor, numbers: Tensor, need_attention: bool) -> tuple[Tensor, Tensor]:
        """Compress each run of a video's frames by itself: actions that are apart do not attend to one another."""
        compressed: list[Tensor] = []
        maps: list[Tensor] = []
        for run in numbers.tensor_split((numbers.diff() > 1).nonzero().flatten().cpu() + 1):
            one = super().forward(video.index_select(2, run), need_attention=need_attention)
            assert isinstance(one.features, Tensor)
            compressed.append(one.features)
            if isinstance(one.attention, Tensor):
                own = one.attention[0]
                maps.append(own.new_zeros(len(own), video.shape[2]).index_copy_(1, run, own))
        return torch.cat(compressed, dim=2), torch.cat(maps) if maps else video.new_zeros(0, video.shape[2])


def scores_of(network: SaliencyNetwork, features: Tensor) -> Tensor:
    """Scores (N, T) of the frames of features (N, C, T, H, W)."""
    # Half floats have too few digits for what is next to the highest score.
    with torch.autocast(features.device.type, enabled=False):
        scores: Tensor = network(picture_statistics(features))
    return scores


def salient(scores: Tensor, block: int = 1, most: int | None = None, certain: float = _CERTAIN) -> Tensor:
    """The numbers (T',) of the frames whose scores (T,) are about the highest: in whole blocks, ``most`` in all.

    Scores beyond ``certain`` are equally high.
    """
    blocks = torch.stack([part.mean() for part in scores.split(block)])
    beside = min(_SMOOTHED // 2, len(blocks) - 1)
    if beside:
        padded = F.pad(blocks[None], (beside, beside), mode="replicate")
        blocks = F.avg_pool1d(padded, 2 * beside + 1, 1)[0]
    blocks = blocks.clamp(max=certain)
    ranked = blocks.argsort(descending=True, stable=True)[: None if most is None else max(1, most // block)]
    best = blocks[ranked[0]]
    ranked = ranked[blocks[ranked] >= torch.minimum(best, (best - _NEAR).clamp(min=_NOTHING))]
    numbers = torch.arange(len(scores), device=scores.device).split(block)
    return torch.cat([numbers[number] for number in ranked.sort().values.tolist()])


def build_sfc(channels: int, *, pooling: str = "topk", salient: bool = False, **options: object) -> RatioCompressor:
    """Build what a manifest's ``sfc`` means: :class:`SFC`, or with the pooling "salient" :class:`SalientFrames`.

    With ``salient`` it is :class:`SalientSFC`. The other options are theirs.

    Raises:
        ValueError: an option is out of its range.
    """
    if pooling == "salient":
        return SalientFrames(channels, **options)  # type: ignore[arg-type]
    if not isinstance(salient, bool):
        raise ValueError(f"salient must be true or false, not {salient!r}")
    return (SalientSFC if salient else SFC)(channels, pooling=pooling, **options)  # type: ignore[arg-type]
