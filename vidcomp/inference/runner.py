"""A network on its device: uint8 frames in, probabilities out; compiled where that is asked for and can be had."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidcomp.inference.device import BatchSize, autocast, choose_precision
from vidcomp.nn.backbones.base import BackboneSpec
from vidcomp.nn.compressors.base import Features, FeaturesError, Ragged, pathways_of
from vidcomp.nn.compressors.binning import check_finite
from vidcomp.nn.layers import fuse_bn
from vidcomp.nn.video_model import ModelInput, ModelOutput, VideoModel, blank_input, noting_features
from vidcomp.video import DecodeOptions, whole
from vidcomp.video.frames import to_input

# Frames of a head's chunk. Small ones stay in a CPU's cache, which is faster than one large pass; a GPU wants more.
_CHUNK_FRAMES = {"cpu": 4, "cuda": 64}
# Clips of equal shape that go through the network together.
_CLIPS_AT_ONCE = {"cpu": 1, "cuda": 32}
# Videos whose features are held until they go through compressor and tail together.
_VIDEOS_AT_ONCE = {"cpu": 1, "cuda": 16}
# Bytes that their features may take on a CPU, and the share of its free memory on a GPU.
_HELD_BYTES = 512 * 2**20
_HELD_SHARE = 0.25
# What a head takes on a CPU for each pixel of a chunk: from 300 bytes for a full one to 540 for a single large frame
# with the greediest of the heads that ship, and some room.
_HEAD_BYTES = 1024


_Part: TypeAlias = Mapping[str, NDArray[Any]]

# Consecutive moments of a video: arrays (t, ...) by modality, or RGB frames (t, H, W, 3) alone.
ChunkData: TypeAlias = NDArray[np.uint8] | _Part


def dummy_clip(frames: int, height: int, width: int) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) of which no two are the same, the same ones each time: to run a network for its cost."""
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), np.uint8)


def dummy_chunk(spec: BackboneSpec, frames: int, height: int, width: int) -> ChunkData:
    """As :func:`dummy_clip`, of what a network with this ``spec`` looks at."""
    if spec.modalities == ("rgb",):
        return dummy_clip(frames, height, width)
    blank = blank_input(spec, frames, height, width)
    assert isinstance(blank, dict)
    noise = np.random.default_rng(0)
    return {name: noise.integers(0, 2, values.shape[1:], np.uint8) for name, values in blank.items()}


def _own(network: VideoModel) -> VideoModel:
    """A copy of the network whose parameters and buffers are others', but lie in the same memory."""
    shared: dict[int, object] = {
        id(parameter): nn.Parameter(parameter.detach(), requires_grad=False) for parameter in network.parameters()
    }
    shared |= {id(buffer): buffer.detach() for buffer in network.buffers()}
    return copy.deepcopy(network, shared)


class Runner:
    """Runs a model over videos on batches of their chunks, with BatchNorm folded and memory laid out for the device."""

    def __init__(
        self,
        network: VideoModel,
        device: torch.device,
        *,
        precision: str = "auto",
        videos_at_once: int | None = None,
    ) -> None:
        """Put a copy of the network on the device, to be computed in a precision that `choose_precision` knows.

        The caller's stays as it is. Weights are shared with it until they are folded, moved or laid out again.

        ``videos_at_once`` may go through compressor and tail together; by default 1 on a CPU and 16 on CUDA.

        Raises:
            ValueError: the device does not compute in that precision.
        """
        self.precision = choose_precision(precision, device)
        network = _own(network).eval()
        fuse_bn(network)
        self.network = network.to(device)
        for parameter in self.network.parameters():
            if parameter.ndim == 5:  # there may be 2-D convolutions beside them
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
        self.spec = network.input_spec
        self.device = device
        self.chunk_frames = _CHUNK_FRAMES.get(device.type, 32)
        self.clips_at_once = BatchSize(_CLIPS_AT_ONCE.get(device.type, 1))
        self.videos_at_once = BatchSize(videos_at_once or _VIDEOS_AT_ONCE.get(device.type, 1))
        self.notes_features = 0
        """Whether outputs have the features that the last layer was given: how many callers want them."""
        self._room = _HELD_BYTES
        if device.type == "cuda":
            self._room = int(_HELD_SHARE * torch.cuda.mem_get_info(device)[0])

    @cached_property
    def feature_bytes(self) -> float:
        """Bytes that the head's features take for each pixel of each frame, and half as many for what joins them."""
        frames, side = self.chunk_frames, self.spec.short_side
        if self.spec.fixed_length:
            frames, side = self.spec.clip_frames, self.spec.crop
        features = self.encode([dummy_chunk(self.spec, frames, side, side)])
        return 1.5 * sum(part.nbytes for part in pathways_of(features)) / (frames * side * side)

    @property
    def decoding(self) -> DecodeOptions:
        """How a video that is passed whole is decoded."""
        spec = self.spec
        return DecodeOptions(
            spec.short_side,
            whole(spec.stride, spec.fps),
            chunk_frames=self.chunk_frames,
            interpolation=spec.interpolation,
        )

    def head_bytes(self, width: int, height: int) -> int:
        """Bytes of memory that the head takes, about and at most, for a chunk of pictures of that size."""
        chunk = DecodeOptions(chunk_frames=self.chunk_frames).frames_per_chunk((width, height))
        return _HEAD_BYTES * width * height * chunk

    def compile(self) -> Compilation:
        """Compile the network, which takes from seconds to a minute; worth it where hundreds of videos follow.

        Where it cannot be compiled the answer says why, and the network runs as before.
        """
        side = self.spec.whole_side
        wide = side if self.spec.central else side * 4 // 3

        def warm_up() -> None:
            # A chunk of each kind that videos are cut into: full, part, and single frame.
            kinds = (self.chunk_frames, self.chunk_frames + 3, self.chunk_frames + 1)
            for frames in (0,) if self.spec.fixed_length else kinds:
                self.whole([dummy_chunk(self.spec, max(frames, self.spec.clip_frames), side, wide)])
            self.synchronize()

        return compile_segments(self.network, warm_up)

    def tensor(self, pixels: NDArray[np.uint8] | Tensor) -> Tensor:
        """Bring frames (T, H, W, 3) to the device as a normalized clip (1, 3, T, H, W)."""
        frames = pixels if isinstance(pixels, Tensor) else torch.from_numpy(pixels)
        if self.device.type == "cuda":
            # From pinned memory the bytes are copied while the device computes.
            frames = frames.pin_memory()
        clip = to_input(frames, self.spec.mean, self.spec.std, device=self.device).unsqueeze(0)
        return clip.contiguous(memory_format=torch.channels_last_3d)

    def whole(self, chunks: Iterable[ChunkData]) -> ModelOutput:
        """Classify one video from its consecutive chunks, with its attention."""
        (output,) = self.finish([self.encode(chunks)])
        return output

    def encode(self, chunks: Iterable[ChunkData]) -> Features:
        """The head's features of one video, a batch of one, from its consecutive chunks.

        A chunk holds arrays (t, ...) by modality; frames (t, H, W, 3) alone are taken for RGB.
        """
        parts: Iterable[_Part] = (part for chunk in chunks for part in self._split(chunk))
        field = self.network.head_field
        if field is not None and field.by_length:
            # Padding that goes by the number of frames, which is not known until the last one is there, does not go by
            # it where it is a multiple of the stride.
            parts = _filled_up(parts, field.stride)
        with torch.inference_mode(), self._cast():
            return self.network.encode(map(self._input, parts), remainder=0)

    def finish(self, videos: Sequence[Features], *, need_moments: bool = False) -> list[ModelOutput]:
        """Classify videos from their features, each with its attention; those of equal shape go together.

        Nothing is padded: attention, pooling and temporal kernels would see it. Where memory does not suffice for so
        many, fewer go together from then on.

        Raises:
            FeaturesError: the network made NaN or infinity of a video.
        """
        finished = partial(self._finished, need_moments=need_moments)
        return [output for group in self.videos_at_once.run(videos, finished) for output in group]

    def has_room_beside(self, videos: Sequence[Features]) -> bool:
        """Whether memory allows to hold the features of another video beside these before :meth:`finish`."""
        held = sum(part.nbytes for video in videos for part in pathways_of(video))
        return held < self._room

    def probabilities(self, clips: Tensor) -> Tensor:
        """Probabilities (N, classes) of clips (N, 3, T, H, W) passed through the network whole.

        Raises:
            FeaturesError: the network made NaN or infinity of a clip.
        """
        return self.views(clips).logits.softmax(dim=1)

    def views(self, clips: Tensor) -> ModelOutput:
        """The output for clips (N, 3, T, H, W) passed through the network whole; errors as of `probabilities`."""
        with torch.inference_mode(), self._cast():
            # In small chunks here too, where the head allows it: what is fast for a video is fast for a clip.
            features = self.network.encode(clips.split(self.chunk_frames, dim=2))
            output = self._noting(lambda: self.network.finish(features))
            output = replace(output, logits=output.logits.float())
            _check([features], output.logits)
            return output

    def synchronize(self) -> None:
        """Wait for the device, so that clocks read true."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _finished(self, videos: Sequence[Features], *, need_moments: bool) -> list[ModelOutput]:
        if self.notes_features and len(videos) > 1:
            return [output for video in videos for output in self._finished([video], need_moments=need_moments)]
        finish = partial(self.network.finish, need_attention=True, need_moments=need_moments)
        with torch.inference_mode(), self._cast():
            output = self._noting(lambda: finish(Ragged(tuple(videos))))
            output = replace(output, logits=output.logits.float())
            _check(videos, output.logits)
        return [output.of_video(number) for number in range(len(videos))]

    def _noting(self, run: Callable[[], ModelOutput]) -> ModelOutput:
        return noting_features(self.network, run) if self.notes_features else run()

    def _cast(self) -> torch.autocast:
        return autocast(self.device, self.precision)

    def _split(self, chunk: ChunkData) -> Iterator[_Part]:
        data = chunk if isinstance(chunk, Mapping) else {"rgb": chunk}
        for start in range(0, len(data[self.spec.modalities[0]]), self.chunk_frames):
            yield {name: values[start : start + self.chunk_frames] for name, values in data.items()}

    def _input(self, part: _Part) -> ModelInput:
        """RGB on the device as :meth:`tensor` brings it, other modalities (1, t, ...) as they come."""
        if self.spec.modalities == ("rgb",):
            return self.tensor(part["rgb"])
        return {
            name: self.tensor(values) if name == "rgb" else torch.from_numpy(values).to(self.device).unsqueeze(0)
            for name, values in part.items()
        }


def _filled_up(parts: Iterable[_Part], multiple: int) -> Iterator[_Part]:
    """Parts (t, ...) of a video, its last moment repeated until there are a multiple of so many."""
    count = 0
    last: _Part = {}
    for part in parts:
        count += len(next(iter(part.values())))
        last = {name: values[-1:].copy() for name, values in part.items()}
        yield part
    if count % multiple:
        yield {name: values.repeat(multiple - count % multiple, axis=0) for name, values in last.items()}


def _check(videos: Sequence[Features], logits: Tensor) -> None:
    """Check what the head made of videos, and the scores that came of it, whatever lies between.

    The scores alone do not tell: a ReLU hides what is negative and infinite.

    Raises:
        FeaturesError: some are NaN or infinite; the message says in which frame, where that is known.
    """
    parts = [part for video in videos for part in pathways_of(video)]
    # Read once and with one answer from the device; NaN is both the least and the greatest.
    bounds = torch.stack([bound.double() for values in (*parts, logits) for bound in values.aminmax()])
    if bool(bounds.isfinite().all()):
        return
    for part in parts:
        check_finite(part.transpose(1, 2))
    raise FeaturesError("the network's scores are NaN or infinite")


@dataclass(frozen=True)
class Compilation:
    """Seconds that compiling took, warm-up included, and why it failed, if it did: the network then runs as it was."""

    seconds: float
    problem: str | None = None


class AnyLength(nn.Module):
    """A segment compiled for any number of frames, and again for each size of picture.

    Were the size left open too, the arithmetic of all strided layers would be done in symbols, which for ``lite0``
    takes many minutes.
    """

    def __init__(self, segment: nn.Module) -> None:
        super().__init__()
        compiled: Any = torch.compile(segment, dynamic=False)
        self.segment = compiled
        self.plain = segment

    def __getitem__(self, index: int | slice) -> nn.Module:
        """A stage of the segment, or several, not compiled."""
        assert isinstance(self.plain, nn.Sequential)
        return self.plain[index]

    def forward(self, features: Features) -> Features:
        """Run the segment on (N, C, T, H, W), or on one such tensor a pathway."""
        for part in pathways_of(features):
            torch._dynamo.maybe_mark_dynamic(part, 2)
        result: Features = self.segment(features)
        return result


def compile_segments(network: VideoModel, warm_up: Callable[[], object]) -> Compilation:
    """Compile the head and the tail, in place, for any number of frames.

    ``warm_up`` must run the network: compiling happens when it is first used. Compressors, whose work may depend on
    the video's content, are left as they are.
    """
    # Found by running the head on odd shapes, which need not be compiled.
    _ = network.head_field
    plain = list(network.segments)
    began = time.perf_counter()
    problem = None
    try:
        for place, segment in enumerate(plain):
            network.segments[place] = AnyLength(segment)
        warm_up()
    except Exception as error:
        # A missing compiler, a full disk, an operator that is not supported: each has an exception of its own.
        for place, segment in enumerate(plain):
            network.segments[place] = segment
        problem = _reason(error)
    return Compilation(time.perf_counter() - began, problem)


def _reason(error: Exception) -> str:
    """The line of a compiler's message that says most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = (line for line in lines if "Error" in line or "No working" in line)
    return next(telling, lines[0] if lines else type(error).__name__)[:200]
