"""Does attention mean anything? What masking attended frames costs, and where attention falls in half-foreign clips.

    python -m benchmarks.faithfulness FOLDER [--model ucf16-lite0] [--compressor sfc] [--tau 2]

FOLDER holds a sub-folder per class. Frames are masked and clips are joined in the head's features, which for a head
without temporal kernels is the same as doing so with pictures; a motion stream does not see the jump at a joint.
docs/attention.md says what is measured and why so.
Results go to benchmarks/results/faithfulness-MODEL-COMPRESSOR.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.harness import save
from vidcomp.attention import importance_of
from vidcomp.evaluation.benchmark import describe_machine
from vidcomp.inference.device import choose_device
from vidcomp.inference.runner import Runner
from vidcomp.inference.strategies import attention_map
from vidcomp.memory import tune_malloc
from vidcomp.video import DecodeWorker
from vidcomp.video.labeled import LabeledVideo, find_labeled
from vidcomp.zoo.build import Variant, load_model

SHARE = 0.3
"""Share of the frames that are masked."""

_RESAMPLES = 5000
_MADE_FRAMES = 8

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Answer:
    """Probabilities (classes,) of a clip and the importance (T,) of its frames."""

    probabilities: NDArray[np.float64]
    importance: NDArray[np.float64]


def fill_nearest(features: Tensor, mask: Mask) -> Tensor:
    """Replace masked frames of (1, C, T, H, W) by the nearest that is not masked, the earlier of two equally near."""
    kept = np.flatnonzero(~mask)
    nearest = kept[np.abs(np.arange(len(mask))[:, None] - kept).argmin(axis=1)]
    return features[:, :, torch.from_numpy(nearest)]


def fill_mean(features: Tensor, mask: Mask) -> Tensor:
    """Replace masked frames of (1, C, T, H, W) by the mean of those that are not masked."""
    masked = torch.from_numpy(mask)
    filled = features.clone()
    filled[:, :, masked] = features[:, :, ~masked].mean(dim=2, keepdim=True)
    return filled


FILLS: dict[str, Callable[[Tensor, Mask], Tensor]] = {"nearest": fill_nearest, "mean": fill_mean}


def masks(importance: NDArray[np.float64], seeds: int) -> Iterator[tuple[str, Mask]]:
    """What is masked: the most and the least attended 30 %, a random 30 %, and the most attended shifted in time.

    The shifted mask has the same runs of frames as the attended one, at another place, and is therefore as hard to fill
    from neighbors, which scattered random frames are not.
    """
    frames = len(importance)
    count = max(1, round(SHARE * frames))
    order = np.argsort(-importance, kind="stable")
    attended = np.isin(np.arange(frames), order[:count])
    yield "attended", attended
    yield "least attended", np.isin(np.arange(frames), order[frames - count :])
    for seed in range(seeds):
        generator = np.random.default_rng(seed)
        yield "random", np.isin(np.arange(frames), generator.permutation(frames)[:count])
        yield "shifted", np.roll(attended, generator.integers(1, max(2, frames)))


def splice(true: Tensor, foreign: Tensor, where: str) -> tuple[Tensor, Mask]:
    """Join the first n frames of both, n the length of the shorter; gives features (1, C, 2n, H, W) and which are true.

    ``where`` is the foreign part's place: before, after, or in the middle of the true one.
    """
    n = min(true.shape[2], foreign.shape[2])
    at = {"before": 0, "middle": n // 2, "after": n}[where]
    joined = torch.cat([true[:, :, :at], foreign[:, :, :n], true[:, :, at:n]], dim=2)
    is_true = np.ones(2 * n, bool)
    is_true[at : at + n] = False
    return joined, is_true


def mean_with_interval(values: Sequence[float]) -> dict[str, float | int]:
    """Mean over videos, and the interval that holds 95 % of the means of resampled videos (percentile bootstrap)."""
    array = np.asarray(values, np.float64)
    picks = np.random.default_rng(0).integers(0, len(array), (_RESAMPLES, len(array)))
    low, high = np.percentile(array[picks].mean(axis=1), [2.5, 97.5])
    return {"mean": float(array.mean()), "low": float(low), "high": float(high), "videos": len(array)}


def interleaved(videos: Sequence[LabeledVideo]) -> list[LabeledVideo]:
    """Classes taken in turns, so that a clip and its successor are of different classes as far as classes allow."""
    classes: dict[str | None, list[LabeledVideo]] = {}
    for video in videos:
        classes.setdefault(video.label, []).append(video)
    return [video for turn in zip_longest(*classes.values()) for video in turn if video is not None]


class Subject:
    """The model under test, clip by clip."""

    def __init__(self, runner: Runner, worker: DecodeWorker) -> None:
        self.runner = runner
        self._worker = worker
        self._made: dict[tuple[object, ...], Tensor] = {}

    def features(self, path: str) -> Tensor:
        """The head's features (1, C, T, H, W) of a video."""
        with torch.inference_mode():
            return self._head(self._pixels(path))

    def frozen(self, path: str, frames: int) -> Tensor:
        """The head's features (1, C, T, H, W) of a video that shows the middle frame of another all the time."""
        pixels = np.concatenate(list(self._pixels(path)))
        middle = len(pixels) // 2
        with torch.inference_mode():
            return _repeated(self._head([pixels[middle : middle + 1].repeat(_MADE_FRAMES, axis=0)]), frames)

    def generated(self, like: Tensor, picture: Callable[[tuple[int, ...]], NDArray[np.uint8]]) -> Tensor:
        """Features of made pictures, as many and as large as ``like``: ``picture`` makes them of a shape (T, H, W, 3).

        A few are made, and repeated in turns.
        """
        key = (picture, *like.shape[3:])
        if key not in self._made:
            side = self.runner.spec.short_side
            height, width = like.shape[3:]
            size = (side, round(side * width / height)) if width >= height else (round(side * height / width), side)
            with torch.inference_mode():
                self._made[key] = self._head([picture((_MADE_FRAMES, *size, 3))])
        return _repeated(self._made[key], like.shape[2])

    def answer(self, features: Tensor) -> Answer:
        """Run compressor and tail."""
        with torch.inference_mode():
            output = self.runner.network.finish(features, need_attention=True)
        frames = np.arange(features.shape[2] * self.runner.network.temporal_strides[0])
        found = attention_map(self.runner.network, output, frames.astype(np.float64), frames)
        assert found is not None
        return Answer(output.logits.softmax(dim=1)[0].double().cpu().numpy(), importance_of(found.weights))

    def _pixels(self, path: str) -> Iterator[NDArray[np.uint8]]:
        with self._worker.open(path, self.runner.decoding) as reader:
            for chunk in reader.chunks():
                yield chunk.pixels

    def _head(self, chunks: Iterator[NDArray[np.uint8]] | list[NDArray[np.uint8]]) -> Tensor:
        features = self.runner.network.encode(self.runner.tensor(chunk) for chunk in chunks)
        assert isinstance(features, Tensor)
        return features


def _repeated(features: Tensor, frames: int) -> Tensor:
    """So many frames of (1, C, t, H, W), from the first again where there are fewer."""
    return features[:, :, torch.arange(frames) % features.shape[2]]


def gray(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A plain card."""
    return np.full(shape, 128, np.uint8)


def noise(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A screen without a signal, another in every frame."""
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


GENERATED = {"plain card": gray, "noise": noise}


def masking(subject: Subject, features: Tensor, true: int, seeds: int) -> dict[str, float]:
    """Drop of the true class's probability for every fill and mask; the random ones averaged over seeds."""
    full = subject.answer(features)
    drops: dict[str, list[float]] = {}
    for name, mask in masks(full.importance, seeds):
        for fill, function in FILLS.items():
            masked = subject.answer(function(features, mask)).probabilities[true]
            drops.setdefault(f"{fill}/{name}", []).append(float(full.probabilities[true] - masked))
    return {name: float(np.mean(values)) for name, values in drops.items()}


def half_foreign(
    subject: Subject, features: Tensor, foreign: Tensor, true: int, other: int | None
) -> dict[str, dict[str, float]]:
    """For each place of the foreign part: share of mass on the true half, whether the true class is named, and the
    share on the half whose class is named (absent where neither is).
    """
    results = {}
    for where in ("before", "middle", "after"):
        joined, is_true = splice(features, foreign, where)
        answer = subject.answer(joined)
        share = float(answer.importance[is_true].sum() / answer.importance.sum())
        named = int(answer.probabilities.argmax())
        results[where] = {"true_share": share, "true_named": float(named == true)}
        if named in (true, other):
            results[where]["named_share"] = share if named == true else 1 - share
    return results


def measure(subject: Subject, videos: Sequence[LabeledVideo], labels: Sequence[str], seeds: int) -> dict[str, object]:
    """All numbers; holds the features of two clips at a time."""
    drops: dict[str, list[float]] = {}
    shares: dict[str, list[float]] = {}
    order = interleaved(videos)
    first = following = subject.features(order[0].path)
    for number, video in enumerate(order):
        features, successor = following, order[(number + 1) % len(order)]
        following = subject.features(successor.path) if number + 1 < len(order) else first
        true, other = labels.index(str(video.label)), labels.index(str(successor.label))
        for name, drop in masking(subject, features, true, seeds).items():
            drops.setdefault(name, []).append(drop)
        footage = {name: subject.generated(features, picture) for name, picture in GENERATED.items()}
        if other != true and following.shape[3:] == features.shape[3:]:
            footage["another class"] = following
            footage["frozen picture of another class"] = subject.frozen(successor.path, features.shape[2])
        for kind, foreign in footage.items():
            named = other if kind == "another class" else None
            for where, values in half_foreign(subject, features, foreign, true, named).items():
                for key, value in values.items():
                    shares.setdefault(f"{kind}/{where}/{key}", []).append(value)
        print(f"\r{number + 1} of {len(order)} clips", end="", flush=True)
    print()
    for fill in FILLS:
        for control in ("random", "shifted", "least attended"):
            pairs = zip(drops[f"{fill}/attended"], drops[f"{fill}/{control}"], strict=True)
            drops[f"{fill}/attended minus {control}"] = [attended - other for attended, other in pairs]
    return {
        "probability_drop": {name: mean_with_interval(values) for name, values in drops.items()},
        "half_foreign": {name: mean_with_interval(values) for name, values in shares.items()},
    }


def main() -> None:
    tune_malloc()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--model", default="ucf16-lite0")
    parser.add_argument("--compressor", choices=("sfc", "sgs"), default="sfc")
    parser.add_argument("--tau", type=float, help="compression ratio of SFC")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", type=int, default=3, help="random masks a clip")
    parser.add_argument("--limit", type=int, help="only so many clips, classes taken in turns")
    options = parser.parse_args()
    model = load_model(options.model, Variant(options.compressor, options.tau))
    runner = Runner(model.network, choose_device(options.device))
    videos = [video for video in find_labeled([options.folder])[0] if video.label in model.labels]
    videos = interleaved(videos)[: options.limit]
    if not videos:
        parser.error(f"{options.folder} holds no videos in sub-folders named after the model's labels")
    machine = describe_machine(runner.device)
    results: dict[str, object] = {
        "model": model.manifest.name,
        "compressors": [
            {"cut": section.cut, "kind": section.kind, "options": section.options}
            for section in model.manifest.compressors
        ],
        "weights_sha256": [
            section.weights.sha256 if section.weights else None for section in model.manifest.compressors
        ],
        "clips": len(videos),
        "masked_share": SHARE,
        "seeds": options.seeds,
    }
    with DecodeWorker() as worker:
        results |= measure(Subject(runner, worker), videos, model.labels, options.seeds)
    tau = "" if options.tau is None else f"-tau{options.tau:g}"
    save(f"faithfulness-{model.manifest.name}-{options.compressor}{tau}", results, machine)


if __name__ == "__main__":
    main()
