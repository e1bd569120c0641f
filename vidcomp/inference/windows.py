"""A long video in parts, each passed through the network on its own, in the memory that one of them takes.

:class:`Windows` have labels of their own; :class:`Stretches` hold every frame, and make one answer together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from operator import itemgetter

import numpy as np
import torch
from numpy.typing import NDArray

from vidcomp.inference.moments import MomentScores
from vidcomp.inference.prediction import ForwardStats
from vidcomp.inference.runner import Runner
from vidcomp.inference.strategies import (
    OnePass,
    Outcome,
    Strategy,
    WholeVideo,
    WindowOutcome,
    features_of,
    finish,
    repetition,
    seen_whole,
)
from vidcomp.nn.backbones import BackboneSpec
from vidcomp.video import Frames
from vidcomp.video.sampling import Selection, evenly, whole

MAX_WINDOW_S = 300.0
"""Seconds of the longest window: its frames are held in memory all at once."""

MIN_EVERY_S = 0.001
"""Seconds from the start of one window to that of the next, at least."""


@dataclass(frozen=True)
class Windows(Strategy):
    """A window of ``window_s`` seconds every ``every_s``; the video's probabilities are the windows' mean.

    Windows start at multiples of ``every_s`` on the video's own timeline, where its first frame need not be at 0.
    Frames are read once; memory holds one window of them, however long the video.
    """

    every_s: float
    window_s: float

    needs_count = False

    def __post_init__(self) -> None:
        if not 0 < self.every_s <= self.window_s:
            raise ValueError(f"windows of {self.window_s:g} s every {self.every_s:g} s would leave gaps")
        if self.window_s > MAX_WINDOW_S:
            raise ValueError(f"a window may last {MAX_WINDOW_S:g} s, not {self.window_s:g} s")
        if self.every_s < MIN_EVERY_S:
            raise ValueError(f"windows every {self.every_s:g} s are too many; {MIN_EVERY_S:g} s is the least")

    @property
    def name(self) -> str:  # type: ignore[override]
        """For example every10s, or every10s-window12s."""
        return f"every{self.every_s:g}s" + (f"-window{self.window_s:g}s" if self.window_s != self.every_s else "")

    def select(self, spec: BackboneSpec, frame_count: int) -> Selection:
        """Frames 0, s, 2s, … for the backbone's stride s."""
        return whole(spec.stride, spec.fps)

    def bytes_held(self, runner: Runner, frames: int, fps: float, pixels: int) -> int:
        """The pixels of a window, and the head's features of them."""
        longest = min(frames, math.ceil(self.window_s * fps / runner.spec.stride))
        return super().bytes_held(runner, longest, fps, pixels) + int(longest * pixels * runner.feature_bytes)

    def run(self, runner: Runner, chunks: Iterable[Frames], frame_count: int) -> Outcome:
        """Pass each window as it is complete; one with fewer frames than a clip has its last frame repeated.

        The windows after the last frame may go beyond the end of the video: see :meth:`Outcome.until`.
        """
        windows: list[WindowOutcome] = []
        passes, repeated, used = ForwardStats(0, 0, 0, 0), 0, 0
        rest = iter(chunks)
        first = next(rest)
        step_s = runner.spec.stride / (runner.spec.fps or first.info.fps)
        frames: tuple[int, ...] = ()
        for window in cut_windows(chain([first], rest), self.every_s, self.window_s, step_s):
            if window.times != frames:  # else it sees what the one before it saw
                frames = window.times
                pixels, missing = _filled(seen_whole(runner.spec, window.pixels()), runner.spec)
                output = runner.whole([pixels])
                features = features_of(output)
                probabilities = output.logits.softmax(dim=1)[0].double().cpu().numpy()
                repeated, used = max(repeated, missing), used + len(pixels)
                passes = ForwardStats(passes.count + 1, max(passes.frames, len(pixels)), *pixels.shape[1:3])
            windows.append(WindowOutcome(window.start_s, window.end_s, probabilities, features))
        mean = np.mean([window.probabilities for window in windows], axis=0)
        return Outcome(mean, passes, notes=repetition(repeated), windows=tuple(windows), frames_used=used)


def scores_of_windows(windows: Sequence[WindowOutcome]) -> MomentScores:
    """Windows as moments; where they overlap each stands for the time until the next."""
    starts = np.array([window.start_s for window in windows])
    ends = np.array([window.end_s for window in windows])
    ends[:-1] = np.minimum(ends[:-1], starts[1:])
    probabilities = np.stack([window.probabilities for window in windows])
    return MomentScores(np.log(np.maximum(probabilities, np.finfo(np.float64).tiny)).astype(np.float32), starts, ends)


_Held = list[tuple[int, NDArray[np.uint8]]]  # frames, with their times in microseconds


@dataclass(frozen=True)
class _Window:
    start_s: float
    end_s: float
    held: _Held

    @property
    def times(self) -> tuple[int, ...]:
        return tuple(time for time, _ in self.held)

    def pixels(self) -> NDArray[np.uint8]:
        return np.stack([pixels for _, pixels in self.held])


def cut_windows(chunks: Iterable[Frames], every_s: float, window_s: float, step_s: float) -> Iterator[_Window]:
    """Cut frames into windows: number k holds the frames of times from k·every up to, but not, k·every + window.

    Times are whole microseconds here, so that every frame is in exactly the windows that cover it. A window without a
    frame of its own holds the one before it, if that stands for its time: until the next one, or for `step_s` where the
    next is more than twice that away or there is none. The others are left out. The first starts no earlier than the
    video.
    """
    every, window, step = map(_microseconds, (every_s, window_s, step_s))
    held: _Held = []  # the frames of window `number` that have come so far, or that which stands for it
    number = first = last = 0
    started = False
    for chunk in chunks:
        for row, second in enumerate(chunk.seconds.tolist()):
            time = _microseconds(second)
            if not started:
                started, first, number = True, time, min(0, time // every)
            shown = time if time - last <= 2 * step else last + step
            while held and time >= number * every + window:
                yield _window(held, max(first, number * every), number * every + window)
                number += 1
                held = _since(held, number * every, shown)
            if not held:
                # The first window that covers the frame, however long the gap before it.
                number = max(number, (time - window) // every + 1)
            elif held[-1][0] < number * every:
                held = []
            held.append((time, chunk.pixels[row]))
            last = time
    while held:
        yield _window(held, max(first, number * every), number * every + window)
        number += 1
        held = _since(held, number * every, last + step)


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _since(held: _Held, start: int, shown: int) -> _Held:
    """The frames of a window that starts then; or the last one before, if that is shown for longer."""
    return [frame for frame in held if frame[0] >= start] or (held[-1:] if start < shown else [])


def _window(held: _Held, start: int, end: int) -> _Window:
    return _Window(start / 1_000_000, end / 1_000_000, held)


def _filled(pixels: NDArray[np.uint8], spec: BackboneSpec) -> tuple[NDArray[np.uint8], int]:
    """Frames (T, H, W, 3), as many as the network needs or takes, and how many of them are the last one again."""
    if spec.fixed_length:
        pixels = pixels[list(evenly(range(len(pixels)), spec.clip_frames))]
    missing = max(0, spec.least_frames - len(pixels))
    return (np.concatenate([pixels, pixels[-1:].repeat(missing, axis=0)]) if missing else pixels), missing


@dataclass(frozen=True)
class Stretches(Strategy):
    """Every ``frames`` selected frames pass the network by themselves; the video's logits are made of all its moments.

    Only networks that tell moments apart can do that. There is no attention of the whole.
    """

    frames: int

    name = "stretches"
    needs_count = False

    def select(self, spec: BackboneSpec, frame_count: int) -> Selection:
        """Those of a whole video."""
        return WholeVideo().select(spec, frame_count)

    def bytes_held(self, runner: Runner, frames: int, fps: float, pixels: int) -> int:
        """What one stretch takes."""
        return WholeVideo().bytes_held(runner, min(frames, self.frames), fps, pixels)

    def run(self, runner: Runner, chunks: Iterable[Frames], frame_count: int) -> Outcome:
        """Pass one stretch after the other."""
        classifier = runner.network.moment_classifier
        assert classifier is not None
        one_pass: OnePass = WholeVideo()
        stretches: list[MomentScores] = []
        features: list[NDArray[np.float32]] = []
        passes, used = ForwardStats(0, 0, 0, 0), 0
        for stretch in cut_frames(chunks, self.frames):
            (outcome,) = finish(runner, [one_pass.encode(runner, stretch)], need_moments=True)
            assert outcome.moments is not None
            stretches.append(outcome.moments)
            if outcome.features is not None:
                features.append(outcome.features)
            used += outcome.passes.frames
            passes = replace(outcome.passes, count=passes.count + 1, frames=max(passes.frames, outcome.passes.frames))
        scores = MomentScores.joined(stretches)
        logits = classifier.join_moments(torch.from_numpy(scores.logits)[None])
        return Outcome(
            logits.softmax(dim=1)[0].double().numpy(),
            passes,
            frames_used=used,
            features=np.concatenate(features) if features else None,
            moments=scores,
        )


def cut_frames(chunks: Iterable[Frames], frames: int) -> Iterator[Iterator[Frames]]:
    """Consecutive chunks in groups of so many frames, to be used up one after the other."""

    def parts() -> Iterator[tuple[int, Frames]]:
        done = 0
        for chunk in chunks:
            first = 0
            while first < len(chunk):
                part = slice(first, first + frames - done % frames)
                cut = Frames(chunk.pixels[part], chunk.seconds[part], chunk.indices[part], chunk.info)
                yield done // frames, cut
                done, first = done + len(cut), first + len(cut)

    for _, group in groupby(parts(), key=itemgetter(0)):
        yield (part for _, part in group)
