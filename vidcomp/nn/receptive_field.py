"""How far in time a network looks, and running it over chunks of frames with the same result as in one pass.

Each feature frame of a convolutional head depends on a bounded stretch of frames. Knowing that stretch, a long video
can be run in overlapping windows of which only those features are kept that saw all they would see in one pass; zero
padding is then met at the video's own ends and nowhere else.

Layers have the stretch in their kernels; blocks of a backbone say how theirs are put together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# What looks at each element, or at each channel of a frame, by itself.
_OF_ELEMENTS = (nn.Identity, nn.BatchNorm3d, nn.Dropout, nn.ReLU, nn.ReLU6, nn.SiLU)


@dataclass(frozen=True)
class ReceptiveField:
    """What a network's feature frame depends on.

    Feature frame j depends on frames j·``stride`` − ``before`` to j·``stride`` + ``after``, and on no others. Where it
    is ``by_length``, the number of frames moves that stretch by less than a stride, as TensorFlow's SAME padding does;
    ``before`` and ``after`` then cover all that it may be.
    """

    stride: int
    before: int
    after: int
    by_length: bool = False

    @property
    def framewise(self) -> bool:
        """Whether each feature frame depends on its own frame alone."""
        return (self.stride, self.before, self.after) == (1, 0, 0)

    def then(self, following: ReceptiveField) -> ReceptiveField:
        """The field of this network and one that takes its features."""
        return ReceptiveField(
            self.stride * following.stride,
            self.before + following.before * self.stride,
            self.after + following.after * self.stride,
            self.by_length or following.by_length,
        )

    @property
    def overlap(self) -> int:
        """Frames that neighboring windows have in common, give or take one stride."""
        return self.before + self.after

    def first_needed(self, feature: int) -> int:
        """First frame of the shortest window in which feature frame ``feature`` comes out right.

        Windows begin at multiples of the stride, so that strided layers fall on the same frames in all of them, and
        at least one stride early where there is one: a pool without padding must have frames enough to work at all.
        """
        earliest = feature * self.stride - self.before - (self.stride - 1)
        return max(0, earliest) // self.stride * self.stride

    def complete(self, frames: int) -> int:
        """How many feature frames are settled once the first ``frames`` frames are known, more being to come."""
        return max(0, (frames - 1 - self.after) // self.stride + 1)


def receptive_field(module: nn.Module) -> ReceptiveField | None:
    """The field of a module that maps features (N, C, T, H, W) to features.

    A module that is no single layer and no sequence says it in an attribute of this name. ``None`` where it depends on
    the whole video, returns several tensors, or does not say: it can be run on all frames at once only.
    """
    declared = getattr(module, "receptive_field", None)
    if isinstance(declared, ReceptiveField):
        return declared
    if isinstance(module, nn.Sequential):
        return one_after_the_other(*module)
    if isinstance(module, (nn.Conv3d, nn.MaxPool3d, nn.AvgPool3d)):
        kernel, stride, padding, dilation = (
            _in_time(getattr(module, name, 1)) for name in ("kernel_size", "stride", "padding", "dilation")
        )
        return ReceptiveField(stride, padding, dilation * (kernel - 1) - padding)
    return ReceptiveField(1, 0, 0) if isinstance(module, _OF_ELEMENTS) else None


def one_after_the_other(*modules: nn.Module) -> ReceptiveField | None:
    """The field of modules that run in this order."""
    field = ReceptiveField(1, 0, 0)
    for module in modules:
        following = receptive_field(module)
        if following is None:
            return None
        field = field.then(following)
    return field


def side_by_side(*modules: nn.Module) -> ReceptiveField | None:
    """The field of modules of one stride that take the same features, and whose results are added or joined."""
    fields = [receptive_field(module) for module in modules]
    found = [field for field in fields if field is not None]
    if len(found) < len(fields) or len({field.stride for field in found}) > 1:
        return None
    return ReceptiveField(
        found[0].stride,
        max(field.before for field in found),
        max(field.after for field in found),
        any(field.by_length for field in found),
    )


def _in_time(size: int | Sequence[int]) -> int:
    return size if isinstance(size, int) else size[0]


def run_in_chunks(
    network: Callable[[Tensor], Tensor],
    field: ReceptiveField,
    chunks: Iterable[Tensor],
    *,
    remainder: int | None = None,
    fresh: int = 0,
) -> Iterator[Tensor]:
    """Run ``network`` over consecutive chunks (N, C, t, H, W) of one video; yield its features in pieces, in order.

    Joined in time, the pieces are the features of one pass over all frames. Of the frames, never more are held than
    one chunk, the one after it, and twice the overlap (or, if more, the overlap and ``fresh``); a chunk may be of any
    length.

    Args:
        network: what has the field.
        field: its field.
        chunks: the video.
        remainder: of the number of all frames, divided by the stride. A field that goes by the length needs it before
            the first frame; where it is not known, all chunks are waited for.
        fresh: frames that a window brings at least, beside those that it has in common with the one before.
    """
    if field.by_length and remainder is None:
        chunks = list(chunks)
        remainder = sum(chunk.shape[2] for chunk in chunks)
    held: Tensor | None = None  # frames [start, start + held.shape[2])
    start = 0
    done = 0  # feature frames that were yielded
    for chunk, is_last in _mark_last(chunks):
        held = chunk if held is None else torch.cat([held, chunk], dim=2)
        # A window begins at a multiple of the stride. For padding that goes by the length to fall as it would in one
        # pass, it must also leave the same remainder; the last one does by itself.
        surplus = (held.shape[2] - (remainder or 0)) % field.stride if field.by_length and not is_last else 0
        known = start + held.shape[2]
        end = known - surplus
        settled = field.complete(end)
        # A window costs its overlap: wait until it brings at least as much that is new.
        if not is_last and (settled - done) * field.stride < max(1, field.overlap, fresh):
            continue
        features = network(held[:, :, : end - start])
        if is_last:
            settled = start // field.stride + features.shape[2]
        first = done - start // field.stride
        yield features[:, :, first : first + settled - done]
        done = settled
        keep_from = field.first_needed(done)
        # A copy, so that the frames before it can be freed.
        held = held[:, :, keep_from - start :].clone() if keep_from < known else None
        start = min(keep_from, known)


def _mark_last(chunks: Iterable[Tensor]) -> Iterator[tuple[Tensor, bool]]:
    """Each chunk with whether it is the last; empty ones are passed over."""
    waiting: Tensor | None = None
    for chunk in chunks:
        if chunk.shape[2] == 0:
            continue
        if waiting is not None:
            yield waiting, False
        waiting = chunk
    if waiting is not None:
        yield waiting, True
