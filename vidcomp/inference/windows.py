"""Labels over time: consecutive windows of a long video, each passed through the network on its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from vidcomp.inference.prediction import Passes
from vidcomp.inference.runner import Runner
from vidcomp.inference.strategies import Outcome, Strategy, WindowOutcome, repetition, seen_whole
from vidcomp.nn.backbones import BackboneSpec
from vidcomp.video import Frames
from vidcomp.video.sampling import Selection, whole

MAX_WINDOW_S = 300.0
"""Seconds of the longest window: its frames are held in memory all at once."""


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
        if _microseconds(self.every_s) < 1:
            raise ValueError(f"windows every {self.every_s:g} s are too many; they may be a microsecond apart")

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
        """Pass each window as it is complete; one with fewer frames than a clip has its last frame repeated."""
        windows: list[WindowOutcome] = []
        passes, repeated = Passes(0, 0, 0, 0), 0
        rest = iter(chunks)
        first = next(rest)
        step_s = runner.spec.stride / (runner.spec.fps or first.info.fps)
        for window in _windows(chain([first], rest), self.every_s, self.window_s):
            pixels, missing = _filled(seen_whole(runner.spec, window.pixels), runner.spec.least_frames)
            output = runner.whole([pixels])
            probabilities = output.logits.softmax(dim=1)[0].double().cpu().numpy()
            windows.append(WindowOutcome(window.start_s, window.end_s, probabilities))
            repeated = max(repeated, missing)
            passes = Passes(len(windows), max(passes.frames, len(pixels)), *pixels.shape[1:3])
        mean = np.mean([window.probabilities for window in windows], axis=0)
        notes = repetition(repeated)
        if _microseconds(self.window_s) < _microseconds(step_s):
            notes += (f"the model looks at a frame every {step_s:.3g} s: shorter windows without one are left out",)
        return Outcome(mean, passes, notes=notes, windows=tuple(windows))


@dataclass(frozen=True)
class _Window:
    start_s: float
    end_s: float
    pixels: NDArray[np.uint8]


def _windows(chunks: Iterable[Frames], every_s: float, window_s: float) -> Iterator[_Window]:
    """Cut frames into windows: number k holds the frames of times from k·every up to, but not, k·every + window.

    Times are whole microseconds here, so that every frame is in exactly the windows that cover it. Windows without
    frames are left out. The first starts no earlier than the video, the last ends no later.
    """
    every, window = _microseconds(every_s), _microseconds(window_s)
    held: list[tuple[int, NDArray[np.uint8]]] = []  # the frames of window `number` that have come so far
    number = first = end = 0
    started = False
    for chunk in chunks:
        for row, second in enumerate(chunk.seconds.tolist()):
            time = _microseconds(second)
            if not started:
                started, first, number = True, time, min(0, time // every)
            while held and time >= number * every + window:
                yield _joined(held, max(first, number * every), number * every + window)
                number += 1
                held = _since(held, number * every)
            if not held:
                # The first window that covers the frame, however long the gap before it.
                number = max(number, (time - window) // every + 1)
            held.append((time, chunk.pixels[row]))
            end = time + max(1, _microseconds(1 / chunk.info.fps))
    while held:
        yield _joined(held, max(first, number * every), min(end, number * every + window))
        number += 1
        held = _since(held, number * every)


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _since(held: list[tuple[int, NDArray[np.uint8]]], start: int) -> list[tuple[int, NDArray[np.uint8]]]:
    return [(time, pixels) for time, pixels in held if time >= start]


def _joined(held: list[tuple[int, NDArray[np.uint8]]], start: int, end: int) -> _Window:
    return _Window(start / 1_000_000, end / 1_000_000, np.stack([pixels for _, pixels in held]))


def _filled(pixels: NDArray[np.uint8], at_least: int) -> tuple[NDArray[np.uint8], int]:
    missing = max(0, at_least - len(pixels))
    return (np.concatenate([pixels, pixels[-1:].repeat(missing, axis=0)]) if missing else pixels), missing
