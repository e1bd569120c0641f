"""A long video in stretches: all of its frames, each stretch in one pass, in the memory that one of them takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter

import numpy as np
import torch
from numpy.typing import NDArray

from vidcomp.inference.moments import MomentScores
from vidcomp.inference.prediction import ForwardStats
from vidcomp.inference.runner import Runner
from vidcomp.inference.strategies import OnePass, Outcome, Strategy, WholeVideo, finish
from vidcomp.nn.backbones import BackboneSpec
from vidcomp.video import Frames
from vidcomp.video.sampling import Selection


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
