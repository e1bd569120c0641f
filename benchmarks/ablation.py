"""What each choice in a compressor is worth: accuracy of many variants after one pass of the head over the videos.

    python -m benchmarks.ablation FOLDER [--model ucf16-lite0] [--trained LABEL=FILE.yaml,FILE.yaml ...]

FOLDER holds a sub-folder per class. Every variant is measured with seeds 1, 2 and 3: untrained ones start near the
identity from other random weights, trained ones are manifests that `vidcomp train` wrote, one a seed. Rows: thinning
(every τ-th frame, no attention at all), SFC by pooling and by the gain of its start, SGS by its kernel.
Results go to benchmarks/results/ablation-MODEL.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from vidcomp.evaluation.benchmark import describe_machine
from vidcomp.inference.device import choose_device
from vidcomp.inference.runner import Runner
from vidcomp.memory import tune_malloc
from vidcomp.nn.backbones import Backbone
from vidcomp.nn.compressors import SFC, SGS, Compressed, Compressor, Identity
from vidcomp.nn.compressors.binning import Kernel
from vidcomp.nn.compressors.sfc import start_near_identity
from vidcomp.nn.video_model import ModelOutput, rollout
from vidcomp.nn.whole_video import CompressedModel, Insertion
from vidcomp.training.objective import set_tau
from vidcomp.video import DecodeWorker
from vidcomp.video.labeled import LabeledVideo, find_labeled
from vidcomp.zoo.build import Variant, load_backbone, load_model
from vidcomp.zoo.manifest import find_manifest

SEEDS = (1, 2, 3)
TAUS = (2.0, 4.0)


class Thinning(Compressor):
    """Every τ-th frame as it is."""

    kind = "thinning"

    def __init__(self, tau: int) -> None:
        super().__init__()
        self.tau = tau

    def forward(self, features: Tensor, *, need_attention: bool = False) -> Compressed:
        """Keep frames 0, τ, 2τ, … of (N, C, T, H, W)."""
        return Compressed(features[:, :, :: self.tau])


@dataclass(frozen=True)
class Row:
    """A variant: how it is called, its τ if it has one, and its network for each seed."""

    label: str
    tau: float | None
    networks: Callable[[], Iterator[CompressedModel]]


@dataclass(frozen=True)
class Encoded:
    """The head's features (1, C, T, H, W) of a video, and its class."""

    features: Tensor
    label: int


def thinning(tau: int, seed: int) -> Thinning:
    """Every τ-th frame, whatever the seed."""
    return Thinning(tau)


def sfc(channels: int, pooling: str, gain: float, seed: int) -> SFC:
    """SFC as training would begin with it."""
    torch.manual_seed(seed)
    made = SFC(channels, pooling=pooling)
    start_near_identity(made, gain)
    return made


def sgs(channels: int, kernel: Kernel, bins: int | None, seed: int) -> SGS:
    """SGS with a random similarity network."""
    torch.manual_seed(seed)
    return SGS(channels, kernel=kernel, bins=bins)


def untrained(backbone: Backbone, cut: str, channels: int) -> Iterator[Row]:
    """Rows that need no training."""

    def row(label: str, tau: float | None, make: Callable[[int], Compressor], seeds: Sequence[int] = SEEDS) -> Row:
        def networks() -> Iterator[CompressedModel]:
            for seed in seeds:
                yield CompressedModel(backbone, [Insertion(cut, make(seed))])

        return Row(label, tau, networks)

    yield row("whole", None, lambda seed: Identity(), (1,))
    for tau in TAUS:
        yield row("thinning", tau, partial(thinning, int(tau)), (1,))
    for pooling, gain in (("average", 1.0), ("average", 0.4), ("topk", 1.0)):
        for tau in TAUS:
            yield row(f"sfc untrained, {pooling}, start {gain:g}", tau, partial(sfc, channels, pooling, gain))
    samplings: list[tuple[Kernel, int | None]] = [("linear", None), ("linear", 96), ("kronecker", 96)]
    for kernel, bins in samplings:
        yield row(f"sgs untrained, {kernel}, bins {bins or 'T'}", None, partial(sgs, channels, kernel, bins))


def trained(label: str, files: Sequence[str]) -> Iterator[Row]:
    """Rows of manifests, one per seed; with SFC among their compressors one per τ."""
    kinds = {section.kind for section in find_manifest(files[0]).compressors}

    def networks() -> Iterator[CompressedModel]:
        for file in files:
            yield load_model(file).network

    for tau in TAUS if "sfc" in kinds else (None,):
        yield Row(label, tau, networks)


def encode(runner: Runner, videos: Sequence[LabeledVideo], labels: Sequence[str]) -> list[Encoded]:
    """Pass the head over all videos."""
    encoded = []
    with DecodeWorker() as worker:
        for number, video in enumerate(videos):
            with worker.open(video.path, runner.decoding) as reader:
                features = runner.encode(chunk.pixels for chunk in reader.chunks())
            assert isinstance(features, Tensor)
            encoded.append(Encoded(features, labels.index(str(video.label))))
            print(f"\r{number + 1} of {len(videos)} clips", end="", flush=True)
    print()
    return encoded


def measure(runner: Runner, videos: Sequence[Encoded]) -> dict[str, float]:
    """Top-1, mean probability of the true class, the share of frames that reach the classifier, and how many frames an
    output frame is made of (exp of its weights' entropy).
    """
    right, kept, entropies, probabilities = 0, [], [], []
    for video in videos:
        (output,) = runner.finish([video.features])
        right += int(output.logits.argmax()) == video.label
        probabilities.append(float(output.logits.float().softmax(dim=1)[0, video.label]))
        weights = _weights(runner, output)
        if weights is not None:
            kept.append(weights.shape[0] / weights.shape[1])
            rows = weights / weights.sum(dim=1, keepdim=True)
            entropies.append(float(torch.special.entr(rows).sum(dim=1).exp().mean()))
    found = {"top1": right / len(videos), "probability": statistics.mean(probabilities)}
    if kept:
        found |= {"kept": statistics.mean(kept), "frames_in_one": statistics.mean(entropies)}
    return found


def _weights(runner: Runner, output: ModelOutput) -> Tensor | None:
    weights = rollout(runner.network, output)
    return None if weights is None else weights.float().cpu()


def main() -> None:
    tune_malloc()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--model", default="ucf16-lite0", help="whose backbone and first cut all variants share")
    parser.add_argument("--trained", action="append", default=[], metavar="LABEL=FILE,FILE", help="one file per seed")
    parser.add_argument("--only-trained", action="store_true", help="keep the other rows of an earlier run")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--limit", type=int, help="only so many clips")
    options = parser.parse_args()
    device = choose_device(options.device)
    model = load_model(options.model, Variant("none"))
    runner = Runner(model.network, device, precision=options.precision)
    videos = [video for video in find_labeled([options.folder])[0] if video.label in model.labels][: options.limit]
    encoded = encode(runner, videos, model.labels)
    rows = [row for said in options.trained for row in trained(said.split("=")[0], said.split("=")[1].split(","))]
    target = Path(__file__).parent / "results" / f"ablation-{options.model}.json"
    results = json.loads(target.read_text())["rows"] if options.only_trained else []
    if not options.only_trained:
        backbone = load_backbone(find_manifest(options.model))
        rows += untrained(backbone, model.network.cuts[0], encoded[0].features.shape[1])
    for row in rows:
        seeds = []
        for network in row.networks():
            set_tau(network, row.tau)
            seeds.append(measure(Runner(network, device, precision=options.precision), encoded))
        top1 = [found["top1"] for found in seeds]
        spread = statistics.stdev(top1) if len(top1) > 1 else 0.0
        results = [old for old in results if (old["row"], old["tau"]) != (row.label, row.tau)]
        mean = statistics.mean(top1)
        results.append({"row": row.label, "tau": row.tau, "top1": mean, "spread": spread, "seeds": seeds})
        print(f"{row.label}, tau {row.tau}: {100 * mean:.1f} ± {100 * spread:.1f} {seeds}", flush=True)
        answer = {"model": options.model, "clips": len(videos), "machine": describe_machine(device), "rows": results}
        target.write_text(json.dumps(answer, indent=2) + "\n")


if __name__ == "__main__":
    main()
