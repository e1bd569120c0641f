"""How a video becomes forward passes and one probability vector: whole, dense views, or uniform clips.

"Thirty-crop dense" and "whole video with SFC" differ in nothing else. A strategy says which frames it wants of a video
and turns them, as they arrive, into an :class:`Outcome`; it neither opens files nor keeps time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vidcomp.attention import GROUPING, AttentionMap
from vidcomp.inference.moments import MomentScores, moment_scores
from vidcomp.inference.prediction import ForwardStats
from vidcomp.inference.runner import Runner
from vidcomp.nn.backbones import BackboneSpec
from vidcomp.nn.compressors import Features
from vidcomp.nn.video_model import ModelOutput, VideoModel, rollout
from vidcomp.video import Chunk, Frames
from vidcomp.video.frames import crop
from vidcomp.video.sampling import Selection, View, dense_views, evenly, needed, rows_of, uniform_clips, whole


@dataclass(frozen=True)
class WindowOutcome:
    """Probabilities (classes,) of one window of a video; from and to in seconds on the video's timeline.

    ``features`` (M, C) as :class:`Outcome` has them.
    """

    start_s: float
    end_s: float
    probabilities: NDArray[np.float64]
    features: NDArray[np.float32] | None = None


# Bytes of a pixel that is held until a clip or window is complete: three, and as many in the copy that joins them.
_PIXEL_BYTES = 6
_PICTURES = frozenset({"rgb", "keyframes"})


@dataclass(frozen=True)
class Outcome:
    """Probabilities (classes,), the passes that gave them, the attention if there was one, remarks, and windows.

    ``frames_used`` is how many frames the network was given, where passes differ in length. ``features`` (M, C) are
    what the last layer was given of M moments, or of M views or windows on average, where the runner notes that.
    ``moments`` is what was said of single moments, where that was asked for.
    """

    probabilities: NDArray[np.float64]
    passes: ForwardStats
    attention: AttentionMap | None = None
    notes: tuple[str, ...] = ()
    windows: tuple[WindowOutcome, ...] = ()
    frames_used: int | None = None
    features: NDArray[np.float32] | None = None
    moments: MomentScores | None = None

    def until(self, end_s: float) -> Outcome:
        """The same of a video that ends then: no window ends later, and the probabilities are the windows' mean."""
        if not self.windows:
            return self
        windows = tuple(replace(part, end_s=min(part.end_s, end_s)) for part in self.windows if part.start_s < end_s)
        mean = np.mean([part.probabilities for part in windows], axis=0)
        return replace(self, probabilities=mean, windows=windows)


class Strategy(ABC):
    """One way of passing a video through a network."""

    name: str
    needs_count: bool

    def must_count(self, spec: BackboneSpec) -> bool:
        """Whether the number of frames must be known before the first is read by such a model."""
        return self.needs_count

    @abstractmethod
    def select(self, spec: BackboneSpec, frame_count: int) -> Selection:
        """Say which frames of a video to read; ``frame_count`` is 0 where :meth:`must_count` says no.

        For a backbone with a rate of its own (``spec.fps``) it counts samples, here and in :meth:`run`.
        """

    def bytes_held(self, runner: Runner, frames: int, fps: float, pixels: int) -> int:
        """Bytes of memory that a video of so many selected frames, of so many pixels each, takes while it is passed."""
        return frames * pixels * _PIXEL_BYTES

    @abstractmethod
    def run(self, runner: Runner, chunks: Iterable[Frames], frame_count: int) -> Outcome:
        """Classify a video from consecutive chunks of the selected frames; at least one frame must arrive."""


@dataclass(frozen=True)
class Encoded:
    """A video that has passed the head: its features, a batch of one, and what is known of the frames they are of."""

    features: Features
    seconds: NDArray[np.float64]
    indices: NDArray[np.int64]
    size: tuple[int, int]
    repeated: int


class OnePass(Strategy):
    """A video passed once, so that several may pass what comes after the head together."""

    def bytes_held(self, runner: Runner, frames: int, fps: float, pixels: int) -> int:
        """The head's features of all frames."""
        return int(frames * pixels * runner.feature_bytes)

    def encode(self, runner: Runner, chunks: Iterable[Chunk]) -> Encoded:
        """Pass the head; a video with fewer frames than a clip has its last frame repeated."""
        reading = HeadInput(chunks, runner.spec)
        features = runner.encode(reading.data())
        return Encoded(
            features, np.asarray(reading.seconds), np.asarray(reading.indices), reading.size, reading.repeated
        )

    def run(self, runner: Runner, chunks: Iterable[Frames], frame_count: int) -> Outcome:
        """Pass the video once."""
        (outcome,) = finish(runner, [self.encode(runner, chunks)])
        return outcome


def finish(runner: Runner, videos: Sequence[Encoded], *, need_moments: bool = False) -> list[Outcome]:
    """Take videos from the head's features to their probabilities; those of equal shape go together."""
    outputs = runner.finish([video.features for video in videos], need_moments=need_moments)
    return [
        Outcome(
            _numbers(output.logits.softmax(dim=1)[0]),
            passes=ForwardStats(
                1,
                len(video.seconds),
                *video.size,
                kept=tuple(
                    0 if maps is None else len(maps[0])
                    for _, maps in zip(runner.network.compressors, output.attention, strict=False)
                ),
            ),
            attention=attention_map(runner.network, output, video.seconds, video.indices),
            notes=repetition(video.repeated),
            features=features_of(output),
            moments=moment_scores(runner.network, output, video.seconds) if need_moments else None,
        )
        for video, output in zip(videos, outputs, strict=True)
    ]


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
        (kind, attention[0], stride)
        for kind, attention, stride in zip(
            network.attention_kinds, output.attention, network.temporal_strides, strict=True
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


@dataclass(frozen=True)
class WholeVideo(OnePass):
    """Every stride-th frame of the video, at full width, in one pass through head, compressor and tail."""

    name = "whole"
    needs_count = False

    def must_count(self, spec: BackboneSpec) -> bool:
        """Only for a network that takes so many frames and no others."""
        return spec.fixed_length

    def select(self, spec: BackboneSpec, frame_count: int) -> Selection:
        """Frames 0, s, 2s, … for the backbone's stride s; or as many as it takes, spread evenly."""
        if spec.fixed_length:
            return Selection(indices=evenly(range(frame_count), spec.clip_frames), fps=spec.fps)
        return whole(spec.stride, spec.fps)


@dataclass(frozen=True)
class KeyFrames(OnePass):
    """A fast look: the video's key frames alone, joined, in one pass, with the model's compressors.

    Each enters the network as one moment of a clip, as if those between had been left out; none that follows the one
    before sooner than the network's own sampling would take a frame (its stride or rate). Where there are fewer than
    the network needs, the last one is repeated, and where they are few the prediction says so. Frames in memory are
    all taken for key frames.
    """

    name = "keyframes"
    needs_count = False

    def select(self, spec: BackboneSpec, frame_count: int) -> Selection:
        """Key frames, at least a stride apart."""
        return Selection(spec.stride, fps=spec.fps, keys=True)


DEFAULT_CROPS = 3
"""Crops of a clip in the literature's dense views: left, middle and right."""


@dataclass(frozen=True)
class DenseViews(Strategy):
    """The literature's dense sampling: clips spread evenly over the video, each seen through several square crops.

    Every view goes through the whole network on its own; probabilities are averaged (SFC paper, section 4).
    """

    clips: int = 10
    crops: int = DEFAULT_CROPS

    needs_count = True

    @property
    def name(self) -> str:  # type: ignore[override]
        """For example dense30, or with another number of crops dense10x1."""
        return f"dense{self.clips * self.crops}" if self.crops == DEFAULT_CROPS else f"dense{self.clips}x{self.crops}"

    def views(self, spec: BackboneSpec, frame_count: int) -> tuple[View, ...]:
        """The views of a video of ``frame_count`` frames."""
        return dense_views(frame_count, spec.clip_frames, spec.stride, clips=self.clips, crops=self.crops)

    def select(self, spec: BackboneSpec, frame_count: int) -> Selection:
        """The frames that any view holds."""
        return needed(self.views(spec, frame_count), spec.fps)

    def run(self, runner: Runner, chunks: Iterable[Frames], frame_count: int) -> Outcome:
        """Average the probabilities of all views; those that share frames share their decoding too."""
        views = self.views(runner.spec, frame_count)
        pixels, numbers = _gather(chunks, self.select(runner.spec, frame_count))
        rows = {view: rows_of(view, numbers) for view in views}

        features: list[NDArray[np.float32]] = []

        def passed(group: Sequence[View]) -> NDArray[np.float64]:
            clips = [runner.tensor(crop(pixels[rows[view][0]], runner.spec.crop, view.crop)) for view in group]
            output = runner.views(torch.cat(clips))
            if output.features is not None:
                features.append(output.features.mean(dim=1).cpu().numpy())
            return _numbers(output.logits.softmax(dim=1).sum(dim=0))

        total = np.sum(list(runner.clips_at_once.run(views, passed)), axis=0)
        repeated = max(missing for _, missing in rows.values())
        passes = ForwardStats(len(views), runner.spec.clip_frames, runner.spec.crop, runner.spec.crop)
        seen = np.concatenate(features) if features else None
        return Outcome(total / len(views), passes, notes=repetition(repeated), features=seen)


@dataclass(frozen=True)
class UniformClips(OnePass):
    """For untrimmed videos: n clips of m consecutive source frames, joined and passed once (SFC paper, section 6)."""

    clips: int = 8
    clip_frames: int = 128

    needs_count = True

    @property
    def name(self) -> str:  # type: ignore[override]
        """For example uniform8x128."""
        return f"uniform{self.clips}x{self.clip_frames}"

    def select(self, spec: BackboneSpec, frame_count: int) -> Selection:
        """Every stride-th frame of each clip; or of these as many as the network takes, spread evenly."""
        views = uniform_clips(frame_count, self.clips, max(1, self.clip_frames // spec.stride), spec.stride)
        selection = needed(views, spec.fps)
        if spec.fixed_length:
            return replace(selection, indices=evenly(selection.indices or (), spec.clip_frames))
        return selection


class HeadInput:
    """A video's chunks as the head takes them, noting their times and numbers, and how many were repeated."""

    def __init__(self, chunks: Iterable[Chunk], spec: BackboneSpec) -> None:
        self.chunks = chunks
        self.spec = spec
        self.seconds: list[float] = []
        self.indices: list[int] = []
        self.repeated = 0
        self.size = (0, 0)

    def data(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Arrays (t, ...) by modality; at the end, the last moment repeated as often as a short video needs it."""
        last: dict[str, NDArray[Any]] | None = None
        for chunk in self.chunks:
            self.seconds.extend(chunk.seconds.tolist())
            self.indices.extend(chunk.indices.tolist())
            data = {name: chunk.data[name] for name in self.spec.modalities}
            for name in _PICTURES & data.keys():
                data[name] = seen_whole(self.spec, data[name])
            last = {name: values[-1:].copy() for name, values in data.items()}
            height, width = data[self.spec.modalities[0]].shape[1:3]
            self.size = (height, width)
            yield data
        missing = self.spec.least_frames - len(self.seconds)
        if last is not None and missing > 0:
            self.repeated = missing
            self.seconds.extend([self.seconds[-1]] * missing)
            self.indices.extend([self.indices[-1]] * missing)
            yield {name: values.repeat(missing, axis=0) for name, values in last.items()}


def seen_whole(spec: BackboneSpec, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What a network sees of a whole video's frames (T, H, W, 3)."""
    if not spec.central:
        return pixels
    square = crop(pixels, spec.crop)
    assert isinstance(square, np.ndarray)
    return square


def _gather(chunks: Iterable[Frames], selection: Selection) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Hold all selected frames (K, H, W, 3) with the numbers (K,) that the selection knows them by."""
    held = list(chunks)
    numbers = [
        selection.number(index, second)
        for chunk in held
        for index, second in zip(chunk.indices.tolist(), chunk.seconds.tolist(), strict=True)
    ]
    return np.concatenate([chunk.pixels for chunk in held]), np.asarray(numbers, dtype=np.int64)


def features_of(output: ModelOutput) -> NDArray[np.float32] | None:
    """What the last layer was given of one video (M, C), where that was noted."""
    return None if output.features is None else output.features[0].cpu().numpy()


def _numbers(values: torch.Tensor) -> NDArray[np.float64]:
    return values.double().cpu().numpy()


def repetition(times: int) -> tuple[str, ...]:
    """What to say of a video, or a part of one, whose last frame was repeated so many times."""
    return (f"shorter than a clip: the last frame was repeated {times}×",) if times else ()
