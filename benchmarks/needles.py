"""An action somewhere in a longer video: is it named, is it found, and what does that cost?

    python -m benchmarks.needles --data ../shared/data [--cache needles.cache]

Each clip is passed through kinetics400-i3d once: of every 8 frames the logits, and what SFC sees of them, are kept in
the cache. Composites are then made of those: a labeled clip (the needle) within footage without an action. That is
exact but for what layers see across cuts; benchmarks.needle_videos passes such composites as files.
docs/moments.md has the results, which go to benchmarks/results/needles.json and docs/moments.svg.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.faithfulness import mean_with_interval
from benchmarks.harness import DOCS, save
from benchmarks.needle_videos import FPS, NEEDLE_S, overlap, right_labels
from vidcomp.evaluation.cost import gmacs
from vidcomp.inference.moments import MomentScores, find_moments
from vidcomp.inference.runner import Runner
from vidcomp.inference.strategies import seen_whole
from vidcomp.memory import tune_malloc
from vidcomp.nn.backbones import BackboneSpec
from vidcomp.nn.compressors import Identity, SalientFrames
from vidcomp.nn.compressors.saliency import picture_statistics
from vidcomp.nn.whole_video import CompressedModel, Insertion
from vidcomp.training.recipes.kinetics400_i3d import CUT, MODEL
from vidcomp.training.saliency import pan
from vidcomp.video import DecodeOptions, DecodeWorker, whole
from vidcomp.zoo.build import Variant, build_network, load_backbone, load_model
from vidcomp.zoo.labels import labels_of
from vidcomp.zoo.manifest import find_manifest

STEP = 8  # frames from one moment to the next
PART = 4  # feature frames of a moment where SFC stands
SHARES = (0.5, 0.25, 0.15, 0.1, 0.05, 0.02)
LENGTH_S = 40.0
MASKED = 0.3
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Clip:
    """Logits (M, classes) of moments, statistics (4·M, 3C) of the frames that SFC sees, and the right labels."""

    name: str
    logits: Tensor
    statistics: Tensor
    right: tuple[int, ...] = ()

    def part(self, start: int, stop: int) -> Clip:
        """Some of its moments."""
        return Clip(self.name, self.logits[start:stop], self.statistics[PART * start : PART * stop], self.right)

    def __len__(self) -> int:
        return len(self.logits)


@dataclass(frozen=True)
class Composite:
    """A clip within others, and which of its moments (M,) are of the needle."""

    clip: Clip
    inside: Tensor


class Network:
    """kinetics400-i3d as benchmarks need it: features of clips, the way logits become one, SFC's choice, and costs."""

    def __init__(self, cache: Path, *, cached_only: bool = False) -> None:
        self.cache, self.cached_only = cache, cached_only
        backbone = load_backbone(find_manifest(MODEL)).eval()
        identity = CompressedModel(backbone, [Insertion(CUT, Identity())])
        self.runner = Runner(identity, torch.device("cpu"), precision="fp32")
        last = self.runner.network.moment_classifier
        assert last is not None
        self.join: Callable[[Tensor], Tensor] = lambda logits: last.join_moments(logits[None])[0]
        loaded = load_model(MODEL, Variant("sfc"))
        (sfc,) = loaded.network.compressors
        assert isinstance(sfc, SalientFrames)
        self.sfc = sfc.eval()
        with torch.device("meta"):
            network = build_network(loaded.manifest).eval()
        frames = 8 * STEP
        cost = [gmacs(network, frames, 224, 224, kept=(kept,)).total for kept in (PART * 8, PART * 4)]
        self.tail_gmacs = (cost[0] - cost[1]) / 4  # of a moment
        self.head_gmacs = cost[0] / 8 - self.tail_gmacs

    def cost(self, moments: int, passed_on: int) -> float:
        """GMACs of so many moments, of which the tail sees some."""
        return moments * self.head_gmacs + passed_on * self.tail_gmacs

    def clip(self, name: str, pixels: Callable[[], Pixels], right: tuple[int, ...] = ()) -> Clip | None:
        """A clip's features, from the cache if they are there; ``None`` if they are not, and nothing else is wanted."""
        file = self.cache / f"{name}.pt"
        if not file.is_file():
            if self.cached_only:
                return None
            features = self.runner.encode([pixels()])
            assert isinstance(features, Tensor)
            (output,) = self.runner.finish([features], need_moments=True)
            assert output.moments is not None
            kept = {"logits": output.moments[0].half(), "statistics": picture_statistics(features)[0].half()}
            self.cache.mkdir(parents=True, exist_ok=True)
            torch.save(kept, file)
        kept = torch.load(file, weights_only=True)
        return Clip(name, kept["logits"].float(), kept["statistics"].float(), right).part(0, len(kept["logits"]))

    @torch.inference_mode()
    def salient(self, clip: Clip) -> tuple[Tensor, Tensor]:
        """Which moments (M,) SFC keeps, and their scores (M,)."""
        scores = self.sfc.network(clip.statistics[None])[0]
        kept = torch.zeros(len(scores), dtype=torch.bool)
        kept[SalientFrames(1, block=PART).chosen(scores)] = True
        return kept.view(-1, PART).any(dim=1), scores.view(-1, PART).mean(dim=1)


def decoded(spec: BackboneSpec, path: Path) -> Pixels:
    """A video's frames (T, 224, 224, 3), 25 a second, as the network sees them."""
    options = DecodeOptions(spec.short_side, whole(spec.stride, spec.fps))
    with DecodeWorker() as worker, worker.open(str(path), options) as reader:
        return np.concatenate([seen_whole(spec, chunk.pixels) for chunk in reader.chunks()])


def needles(network: Network, data: Path) -> list[Clip]:
    """Clips of the actions that Kinetics names."""
    names, right = list(labels_of(find_manifest(MODEL))), right_labels(MODEL)
    spec = network.runner.spec
    clips = [
        network.clip(path.stem, partial(decoded, spec, path), tuple(map(names.index, right[path.parent.name])))
        for path in sorted(data.glob("ucf16/val/*/*.mp4"))
        if path.parent.name in right
    ]
    return [clip for clip in clips if clip is not None]


def footage(network: Network, data: Path) -> list[Clip]:
    """Street footage, and made one: slow pans over stills, cards and noise."""
    spec, shape = network.runner.spec, (2 * FPS, 224, 224, 3)
    real = {path.stem: partial(decoded, spec, path) for path in sorted(data.glob("fights/val/noFight/*"))}
    # Stills of clips of actions would show these.
    stills = sorted(data.glob("fights/val/noFight/*"))[::3]
    made: dict[str, Callable[[], Pixels]] = {
        f"street{number}": partial(_panned, spec, path, number) for number, path in enumerate(stills)
    }
    made |= {f"card{shade}": partial(np.full, shape, shade, np.uint8) for shade in (30, 200)}
    made["noise"] = partial(np.random.default_rng(0).integers, 0, 256, shape, np.uint8)
    clips = [network.clip(name, pixels) for name, pixels in {**real, **made}.items()]
    return [clip for clip in clips if clip is not None]


def _panned(spec: BackboneSpec, path: Path, seed: int) -> Pixels:
    return pan(decoded(spec, path)[10], 2 * FPS, np.random.default_rng(seed))


def composite(needle: Clip, around: Sequence[Clip], share: float, length: int, drawn: random.Random) -> Composite:
    """The middle of a clip, that share of so many moments, somewhere in footage drawn at random.

    A clip that is too short for that has less around it.
    """
    size = min(len(needle), max(1, round(share * length)))
    start = (len(needle) - size) // 2
    rest = max(1, round(size / share) - size)
    pieces: list[Clip] = []
    while sum(map(len, pieces)) < rest:
        pieces += drawn.sample(list(around), len(around))
    at = drawn.randint(0, rest)
    logits = torch.cat([piece.logits for piece in pieces])[:rest]
    statistics = torch.cat([piece.statistics[: PART * len(piece)] for piece in pieces])[: PART * rest]
    middle = needle.part(start, start + size)
    joined = Clip(
        needle.name,
        torch.cat([logits[:at], middle.logits, logits[at:]]),
        torch.cat([statistics[: PART * at], middle.statistics, statistics[PART * at :]]),
        needle.right,
    )
    inside = torch.zeros(len(joined), dtype=torch.bool)
    inside[at : at + size] = True
    return Composite(joined, inside)


def contribution(network: Network, logits: Tensor) -> Tensor:
    """How much each moment (M,) has in the best label's logit: by how much that moves with the moment's own."""
    with torch.enable_grad():
        moved = logits.clone().requires_grad_()
        best = network.join(moved).max()
        (gradient,) = torch.autograd.grad(best, moved)
    return gradient.sum(dim=1)


def clips_of(logits: Tensor, count: int, size: int) -> list[Tensor]:
    """So many clips of so many moments, spread evenly over the video."""
    last = max(0, len(logits) - size)
    return [logits[round(number * last / max(1, count - 1)) :][:size] for number in range(count)]


def rows(network: Network, video: Composite) -> dict[str, tuple[Tensor, Tensor | None, float]]:
    """For each way to pass a composite: scores (classes,), which moments were passed on, and GMACs."""
    logits, count = video.clip.logits, len(video.clip)
    everything, whole_cost = torch.ones(count, dtype=torch.bool), network.cost(count, count)
    kept, _ = network.salient(video.clip)
    halves = torch.arange(count) % 4 < 2
    dense = [part.mean(dim=0).softmax(dim=0) for part in clips_of(logits, 10, 8)]
    eight = torch.cat(clips_of(logits, 8, 16))
    windows = [part.mean(dim=0).softmax(dim=0) for part in logits.split(round(10 * FPS / STEP))]
    inside = video.inside
    return {
        "needle alone": (network.join(logits[inside]), inside, network.cost(int(inside.sum()), int(inside.sum()))),
        "whole": (network.join(logits), everything, whole_cost),
        "mean of the logits": (logits.mean(dim=0), everything, whole_cost),
        "dense 10x1": (torch.stack(dense).mean(dim=0), None, 10 * network.cost(8, 8)),
        "uniform8": (network.join(eight), None, network.cost(len(eight), len(eight))),
        "windows of 10 s, mean": (torch.stack(windows).mean(dim=0), None, whole_cost),
        "windows of 10 s, best": (max(windows, key=lambda one: float(one.max())), None, whole_cost),
        "every other 0.64 s": (network.join(logits[halves]), halves, network.cost(count, int(halves.sum()))),
        "SFC": (network.join(logits[kept]), kept, network.cost(count, int(kept.sum()))),
    }


def found(video: Composite, seen: Tensor) -> tuple[float, int]:
    """The best overlap of a moment found with the needle, of those rightly named, and how many were found elsewhere.

    Only moments that were ``seen`` (M,) are looked at.
    """
    times = np.flatnonzero(seen.numpy()) * STEP / FPS
    scores = MomentScores(video.clip.logits[seen].numpy(), times, times + STEP / FPS)
    places = np.flatnonzero(video.inside.numpy()) * STEP / FPS
    true = float(places[0]), float(places[-1]) + STEP / FPS
    best, elsewhere = 0.0, 0
    for moment in find_moments(scores):
        own = overlap((moment.start_s, moment.end_s), true)
        elsewhere += own == 0
        best = max(best, own if moment.index in video.clip.right else 0.0)
    return best, elsewhere


def measure(
    network: Network, clips: Sequence[Clip], around: Sequence[Clip], share: float, length_s: float, seeds: int
) -> dict[str, Any]:
    """All rows at one share: shares of clips, each with its interval."""
    values: dict[str, dict[str, list[float]]] = {}
    for clip in clips:
        of_clip: dict[str, dict[str, list[float]]] = {}
        for seed in range(seeds):
            drawn = random.Random(f"{clip.name} {seed}")
            video = composite(clip, around, share, round(length_s * FPS / STEP), drawn)
            for name, (scores, seen, cost) in rows(network, video).items():
                numbers = {"top1": float(int(scores.argmax()) in clip.right), "gmacs": cost}
                if seen is not None:
                    given = contribution(network, video.clip.logits[seen])
                    numbers["kept"] = float(seen.float().mean())
                    numbers["inside"] = float((seen & video.inside).sum() / seen.sum())
                    numbers["score_inside"] = float(given[video.inside[seen]].sum() / given.sum())
                if name in ("whole", "SFC"):
                    assert seen is not None
                    best, numbers["found_elsewhere"] = found(video, seen)
                    numbers["found"] = float(best >= 0.5)
                    if numbers["top1"]:
                        numbers["found_if_named"] = float(best >= 0.5)
                for key, value in numbers.items():
                    of_clip.setdefault(name, {}).setdefault(key, []).append(value)
        for name, numbers_of in of_clip.items():
            for key, several in numbers_of.items():
                values.setdefault(name, {}).setdefault(key, []).append(float(np.mean(several)))
    return {name: {key: mean_with_interval(several) for key, several in of.items()} for name, of in values.items()}


def alone(network: Network, clips: Sequence[Clip]) -> dict[str, Any]:
    """Clips with nothing around them: whole, and by SFC."""
    results: dict[str, list[float]] = {}
    for clip in clips:
        kept, _ = network.salient(clip)
        whole_one, by_sfc = network.join(clip.logits), network.join(clip.logits[kept])
        for name, value in {
            "whole": int(whole_one.argmax()) in clip.right,
            "SFC": int(by_sfc.argmax()) in clip.right,
            "same": int(whole_one.argmax()) == int(by_sfc.argmax()),
            "kept": float(kept.float().mean()),
        }.items():
            results.setdefault(name, []).append(float(value))
    return {name: mean_with_interval(values) for name, values in results.items()}


def masking(network: Network, clips: Sequence[Clip], around: Sequence[Clip], seeds: int) -> dict[str, Any]:
    """Drop of the right labels' probability, in composites of 40 s and 15 %, where 30 % of the moments are left out.

    The most salient, and the least; as many drawn at random; and the most salient shifted in time.
    """
    drops: dict[str, list[float]] = {}
    for clip in clips:
        of_clip: dict[str, list[float]] = {}
        for seed in range(seeds):
            drawn = random.Random(f"{clip.name} {seed}")
            video = composite(clip, around, 0.15, round(LENGTH_S * FPS / STEP), drawn)
            right, count = list(clip.right), round(MASKED * len(video.clip))
            _, scores = network.salient(video.clip)
            order = scores.argsort(descending=True, stable=True)
            attended = torch.zeros(len(scores), dtype=torch.bool)
            attended[order[:count]] = True
            least = torch.zeros_like(attended)
            least[order[-count:]] = True
            shuffled = torch.tensor(drawn.sample(range(len(scores)), count))
            anywhere = torch.zeros_like(attended)
            anywhere[shuffled] = True
            masks = {
                "most salient": attended,
                "least salient": least,
                "random": anywhere,
                "shifted": attended.roll(drawn.randrange(1, len(scores))),
            }
            full = network.join(video.clip.logits).softmax(dim=0)[right].sum()
            for name, mask in masks.items():
                left = network.join(video.clip.logits[~mask]).softmax(dim=0)[right].sum()
                of_clip.setdefault(name, []).append(float(full - left))
        for name, values in of_clip.items():
            drops.setdefault(name, []).append(float(np.mean(values)))
    for control in ("random", "shifted"):
        pairs = zip(drops["most salient"], drops[control], strict=True)
        drops[f"most salient minus {control}"] = [one - other for one, other in pairs]
    return {name: mean_with_interval(values) for name, values in drops.items()}


def draw(results: dict[str, Any], file: Path) -> None:
    """The curves against the needle's share."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    mpl.rcParams["svg.hashsalt"] = "vidcomp"
    figure, axes = pyplot.subplots(1, 2, figsize=(9.6, 4), sharey=True)
    titles = {"40 s": "40 s of video", "6 s": "6 s of action, the video grows"}
    lines = ("needle alone", "SFC", "whole", "uniform8", "windows of 10 s, best", "dense 10x1", "mean of the logits")
    for axis, (kind, title) in zip(axes, titles.items(), strict=True):
        shares = [100 * share for share in SHARES]
        for name, marker, dashes in zip(lines, "os^Dv*X", ("-", "-", "--", ":", "-.", "--", ":"), strict=True):
            means = [100 * results["composites"][kind][f"{share:g}"][name]["top1"]["mean"] for share in SHARES]
            axis.plot(shares, means, marker=marker, linestyle=dashes, markersize=5, label=name)
        axis.set_xscale("log")
        axis.set_xticks(shares, [f"{share:g}" for share in shares])
        axis.minorticks_off()
        axis.set_xlabel("share of the action, %")
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("labeled correctly, %")
    axes[0].set_ylim(0, 100)
    axes[1].legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    tune_malloc()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the shared videos: ucf16/val and fights/val are used")
    parser.add_argument("--cache", type=Path, default=Path("needles.cache"), help="where features of clips are kept")
    parser.add_argument("--seeds", type=int, default=2, help="composites of each clip")
    parser.add_argument("--cached-only", action="store_true", help="only clips whose features are there already")
    options = parser.parse_args()
    network = Network(options.cache, cached_only=options.cached_only)
    clips, around = needles(network, options.data), footage(network, options.data)
    composites: dict[str, dict[str, Any]] = {"40 s": {}, "6 s": {}}
    for share in SHARES:
        composites["40 s"][f"{share:g}"] = measure(network, clips, around, share, LENGTH_S, options.seeds)
        composites["6 s"][f"{share:g}"] = measure(network, clips, around, share, NEEDLE_S / share, options.seeds)
    results = {
        "model": MODEL,
        "clips": len(clips),
        "footage": [clip.name for clip in around],
        "seeds": options.seeds,
        "alone": alone(network, clips),
        "composites": composites,
        "masking": masking(network, clips, around, options.seeds),
    }
    draw(results, DOCS / "moments.svg")
    save("needles", results)


if __name__ == "__main__":
    main()
