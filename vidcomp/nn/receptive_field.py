"""How far in time a network looks, and running it over chunks of frames with the same result as in one pass.

Each feature frame of a convolutional head depends on a bounded stretch of frames. Knowing that stretch, a long video
can be run in overlapping windows of which only those features are kept that saw all they would see in one pass; zero
padding is then met at the video's own ends and nowhere else.

The stretch is found by experiment rather than by reading layers: NaN in one input frame comes out in exactly those
feature frames that depend on it, whatever the network is made of, shortcuts and strides included. A network that pools
over all time shows itself too: there every feature frame depends on every frame, and it cannot be run in windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Height and width of the probe, tried in turn: the first is enough for most networks, some pools need more.
_PROBE_SIDES = (16, 32, 64)
# Lengths tried in turn: a field must fit in the probe with feature frames to spare. Multiples of many strides, so that
# rounding does not blur how many frames a feature frame stands for.
_PROBE_FRAMES = (96, 288, 1152)


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
        """Frames that neighbouring windows have in common, give or take one stride."""
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


def receptive_field(network: nn.Module) -> ReceptiveField | None:
    """Find the field of a network that maps clips (N, 3, T, H, W) to features (N, C, T', H', W').

    The network is run, in evaluation mode and on its own device, on one short clip of noughts for each phase of its
    stride. One layer alone must not leap over 48 frames of the video or more, as only a strongly dilated one would.

    Returns:
        The field, or ``None`` if feature frames depend on the whole video (or on some hundreds of frames of it), or
        the features are several tensors, as those of two pathways are, or NaN.

    Raises:
        RuntimeError: the network cannot be run on a clip of 64×64 pixels.
    """
    fields = receptive_fields([network])
    return None if fields is None else fields[0]


def receptive_fields(stages: Sequence[nn.Module]) -> list[ReceptiveField] | None:
    """The field of each of the stages that a network is made of, each in frames of its own input.

    ``None``, and RuntimeError, as :func:`receptive_field` has them for any one stage.
    """
    training = [module for stage in stages for module in stage.modules() if module.training]
    for stage in stages:
        stage.eval()
    try:
        # cuDNN may compute a convolution by transforms over many frames at once, which would spread the NaN.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=False):
            return _search(stages)
    finally:
        for module in training:
            module.training = True


def _search(stages: Sequence[nn.Module]) -> list[ReceptiveField] | None:
    like = next((parameter for stage in stages for parameter in stage.parameters()), torch.empty(0))
    for side in _PROBE_SIDES:
        try:
            fields = []
            inputs = torch.zeros(1, 3, _PROBE_FRAMES[0], side, side, dtype=like.dtype, device=like.device)
            for stage in stages:
                features = stage(inputs)
                if isinstance(features, Tensor) and bool(features.isnan().any()):
                    return None  # NaN by itself: no clip of any length would show how far one NaN reaches
                tried = (_probe(stage, frames, inputs) for frames in _PROBE_FRAMES)
                field = next((field for field in tried if field is not None), None)
                if field is None:
                    return None
                fields.append(field)
                inputs = features
            return fields
        except RuntimeError:
            if side == _PROBE_SIDES[-1]:
                raise
    return None


def _probe(network: nn.Module, frames: int, inputs: Tensor) -> ReceptiveField | None:
    """Look for the field with clips of ``frames`` frames, else shaped as ``inputs``; ``None`` if too short to tell.

    Also ``None`` for features of several pathways, each of which has a stride of its own.
    """
    clip = inputs.new_zeros(1, inputs.shape[1], frames, *inputs.shape[3:])
    features = network(clip)
    if not isinstance(features, Tensor):
        return None
    length = features.shape[2]
    stride, rest = divmod(frames, length)
    if rest or length < 2 * stride:  # padding or a strided layer's last frames could pass for another stride
        return None
    middle = frames // 2 // stride * stride
    # One clip for each phase of the stride, as a strided layer may skip some frames altogether; and a last one to see
    # that frames some strides later reach the features as many later, without which the field would mean nothing.
    steps = length // 4
    clips = clip.repeat(stride + 1, 1, 1, 1, 1)
    for phase in range(stride):
        clips[phase, :, middle + phase] = torch.nan
        clips[stride, :, middle + steps * stride + phase] = torch.nan
    reached = _reached(network, clips)
    of_all_phases = reached[:stride].any(dim=0)
    # A dilated layer leaves gaps: only a field that stays in the middle half cannot go on unseen beyond the ends.
    if of_all_phases[:steps].any() or of_all_phases[-steps:].any():
        return None
    if not torch.equal(reached[stride, steps:], of_all_phases[:-steps]):
        return None
    before = after = 0
    for phase in range(stride):
        for feature in reached[phase].nonzero().flatten().tolist():
            offset = middle + phase - feature * stride
            before, after = max(before, -offset), max(after, offset)
    if stride == 1:
        return ReceptiveField(stride, before, after)
    # One frame more, behind all others, moves the field where padding goes by the length.
    longer = _reached(network, torch.cat([clips[:stride], clip[:, :, :1].expand(stride, -1, -1, -1, -1)], dim=2))
    if torch.equal(longer[:, :length], reached[:stride]):
        return ReceptiveField(stride, before, after)
    return ReceptiveField(stride, before + stride - 1, after + stride - 1, by_length=True)


def _reached(network: nn.Module, clips: Tensor) -> Tensor:
    """Which feature frames (N, T') see the NaN in each clip."""
    reached: Tensor = network(clips).isnan().any(dim=4).any(dim=3).any(dim=1)
    return reached


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
