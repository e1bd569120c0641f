"""The receptive field of a network found by experiment, whatever it is made of and whatever it says of itself.

NaN in one input frame comes out in exactly those feature frames that depend on it, shortcuts and strides included. A
network that pools over all time shows itself too: there every feature frame depends on every frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vidcomp.nn.receptive_field import ReceptiveField

# Height and width of the probe, tried in turn: the first is enough for most networks, some pools need more.
_PROBE_SIDES = (16, 32, 64)
# Lengths tried in turn: a field must fit in the probe with feature frames to spare. Multiples of many strides, so that
# rounding does not blur how many frames a feature frame stands for.
_PROBE_FRAMES = (48, 288, 1152)


def probed_fields(stages: Sequence[nn.Module]) -> list[ReceptiveField] | None:
    """The field of each of the stages that a network is made of, each in frames of its own input.

    ``None`` if feature frames of one depend on the whole video (or on some hundreds of frames of it), or its features
    are several tensors, as those of two pathways are, or NaN.
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
