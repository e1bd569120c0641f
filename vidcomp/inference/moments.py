"""Moments of a video: which action is when, found in what one pass says of each part of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidcomp.attention import frame_intervals
from vidcomp.nn.video_model import ModelOutput, VideoModel, rollout

# Where no action is, the best label is taken to be so probable: this far on the way from what chance gives each to 1.
# This and the next were chosen on composites of clips: see docs/moments.md.
_NOTHING = 0.25
# What it costs to begin an action or to end one: so many nats must be gained by it. Half of that is asked where a video
# begins or ends, which it may do within an action.
_CHANGE = 3.5


@dataclass(frozen=True)
class MomentScores:
    """Logits (M, classes) of M parts of a video, from ``starts_s`` to ``ends_s`` (M,), in order of time.

    Parts need not touch: nothing was seen between them then.
    """

    logits: NDArray[np.float32]
    starts_s: NDArray[np.float64]
    ends_s: NDArray[np.float64]

    @classmethod
    def joined(cls, parts: Sequence[MomentScores]) -> MomentScores:
        """Those of consecutive stretches of a video."""
        return cls(
            np.concatenate([part.logits for part in parts]),
            np.concatenate([part.starts_s for part in parts]),
            np.concatenate([part.ends_s for part in parts]),
        )


@dataclass(frozen=True)
class Found:
    """An action: from when to when, its class, and that class's mean probability meanwhile."""

    start_s: float
    end_s: float
    index: int
    probability: float


def moment_scores(network: VideoModel, output: ModelOutput, seconds: NDArray[np.float64]) -> MomentScores:
    """What the pass of one video, whose frames are at ``seconds`` (T,), said of its moments.

    Behind a compressor a moment is when the frames are that its features were made of: on average, unless the
    compressor goes on in step with them, and only now and then looks for more of the same elsewhere.
    """
    assert output.moments is not None
    logits = output.moments[0].float().cpu().numpy()
    weights = rollout(network, output)
    rows = seconds
    if weights is not None:
        mapped = zip(network.compressors, output.attention, network.temporal_strides, strict=True)
        (first, compressor), *others = [(at, own) for own, attention, at in mapped if attention is not None]
        shares = weights.double().cpu().numpy()
        times = seconds[::first][: shares.shape[1]]
        if compressor.in_step and not others:
            rows = np.array([part.mean() for part in np.array_split(times[shares.any(axis=0)], len(shares))])
        else:
            rows = shares @ times / shares.sum(axis=1)
    middles = (np.arange(len(logits)) + 0.5) * len(rows) / len(logits)
    times = rows[middles.astype(np.int64)]
    order = np.argsort(times, kind="stable")
    # The last frame is shown for as long as the others are.
    frame_s = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
    starts, ends = frame_intervals(times[order], float(seconds[-1]) + frame_s)
    # The first reaches as far back as to the first frame, as long as that is no farther than to the next.
    reach = float(np.median(np.diff(times[order]))) if len(times) > 1 else math.inf
    starts = np.maximum(np.where(starts == starts[0], starts[0] - reach, starts), seconds[0])
    return MomentScores(logits[order], starts, ends)


def find_moments(scores: MomentScores, allowed: NDArray[np.bool_] | None = None) -> list[Found]:
    """The actions in a video, in order of time; none where nothing is certain for long enough.

    Each part has one of the classes or none, and the sequence is that of the greatest likelihood, beginnings and ends
    being improbable (Viterbi). An action ends where nothing was seen for a while. Only classes that are ``allowed``
    (classes,) are found, if that is given; they compete with the others all the same.
    """
    logits = scores.logits.astype(np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    if allowed is not None:
        log_p[:, ~allowed] = -np.inf
    half = float(np.median(scores.ends_s - scores.starts_s)) / 2
    seen_after = scores.starts_s[1:] <= scores.ends_s[:-1] + half
    states = _most_likely(log_p, seen_after)
    borders = np.flatnonzero((np.diff(states) != 0) | ~seen_after) + 1
    found = []
    for run in np.split(np.arange(len(states)), borders):
        index = int(states[run[0]])
        if index < log_p.shape[1]:
            probability = float(np.exp(log_p[run, index]).mean())
            found.append(Found(float(scores.starts_s[run[0]]), float(scores.ends_s[run[-1]]), index, probability))
    return found


def _most_likely(log_p: NDArray[np.float64], seen_after: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The most likely class (M,) of each part, by the classes' logarithms (M, classes); the number after them is none.

    ``seen_after`` (M − 1,) is false where there is a gap, over which no action goes on.
    """
    count, classes = log_p.shape
    change = np.full(classes + 1, _CHANGE)
    change[classes] = 0.0  # to or from nothing costs what the other side does
    nothing = math.log(1 / classes + _NOTHING * (1 - 1 / classes))
    best = np.append(log_p[0], nothing) - change / 2
    stays = np.ones((count, classes + 1), bool)
    before = np.zeros(count, np.int64)
    for part in range(1, count):
        leaving = best - change
        before[part] = leaving.argmax()
        switched = leaving[before[part]] - change
        if seen_after[part - 1]:
            stays[part] = best >= switched
        else:
            stays[part] = False
        best = np.where(stays[part], best, switched) + np.append(log_p[part], nothing)
    states = np.empty(count, np.int64)
    states[-1] = (best - change / 2).argmax()
    for part in range(count - 1, 0, -1):
        states[part - 1] = states[part] if stays[part, states[part]] else before[part]
    return states
