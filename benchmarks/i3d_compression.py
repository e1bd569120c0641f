"""What compression costs kinetics400-i3d: labels of clips in one pass, by where and how frames are left out.

    python -m benchmarks.i3d_compression FOLDER [--limit 20]

FOLDER holds a sub-folder for each of UCF101's classes that Kinetics names. Rows: nothing left out; after the stem, with
the tail as it is, every τ-th frame, runs of 16 frames that are evenly spread, means of neighbors, or SFC and SGS with
random weights; every second frame where `mixed_4a` keeps all of them; and the model's own strategies. Beside the
labels, each row is compared with `whole`: how often the best label is the same, and the divergence (KL) of the
probabilities. Results go to benchmarks/results/i3d_compression.json.
"""

from __future__ import annotations

import argparse
import copy
import csv
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.harness import save
from vidcomp.evaluation.benchmark import describe_machine
from vidcomp.evaluation.cost import gmacs
from vidcomp.inference.device import choose_device
from vidcomp.inference.runner import Runner
from vidcomp.inference.strategies import seen_whole
from vidcomp.memory import tune_malloc
from vidcomp.nn.compressors import SFC, SGS, Compressed, Compressor, Identity
from vidcomp.nn.compressors.sfc import start_near_identity
from vidcomp.nn.whole_video import CompressedModel, Insertion
from vidcomp.video import DecodeWorker
from vidcomp.video.labeled import find_labeled
from vidcomp.zoo.build import Variant, load_backbone, load_model
from vidcomp.zoo.labels import labels_of
from vidcomp.zoo.manifest import find_manifest

MODEL = "kinetics400-i3d"
CLASSES = Path(__file__).parent.parent / "tests" / "inference" / "ucf101_to_kinetics.csv"
FRAMES = 250  # ten seconds, for which costs are given


class LeavingOut(Compressor):
    """What a function makes of features (N, C, T, H, W)."""

    kind = "function"

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, features: Tensor, *, need_attention: bool = False) -> Compressed:
        """Apply the function."""
        return Compressed(self.function(features))


def every(tau: int, features: Tensor) -> Tensor:
    """Frames 0, τ, 2τ and so on."""
    return features[:, :, ::tau]


def means(tau: int, features: Tensor) -> Tensor:
    """Means of τ neighbors."""
    return F.adaptive_avg_pool3d(features, (max(1, round(features.shape[2] / tau)), *features.shape[3:]))


def runs(tau: int, features: Tensor, length: int = 16) -> Tensor:
    """Runs of consecutive frames, evenly spread: about ``length`` in each, and T/τ in all."""
    frames = features.shape[2]
    keep = max(1, round(frames / tau))
    count = max(1, round(keep / length))
    ends = [round(number * keep / count) for number in range(count + 1)]
    kept = []
    for number, (first, last) in enumerate(itertools.pairwise(ends)):
        start = round((number + 0.5) * frames / count - (last - first) / 2)
        kept += [min(frames - 1, max(0, start + step)) for step in range(last - first)]
    return features[:, :, kept]


def compressors() -> dict[str, tuple[str, int, Compressor]]:
    """By the row's name: the cut, the stride of ``mixed_4a``, and what stands there."""
    torch.manual_seed(1)
    sfc = SFC(192, tau=2)
    start_near_identity(sfc)
    rows: dict[str, tuple[str, int, Compressor]] = {"whole": ("stem", 2, Identity())}
    for tau in (2, 4):
        rows[f"1 of {tau} frames after stem"] = ("stem", 2, LeavingOut(partial(every, tau)))
        rows[f"runs of 16 after stem, tau {tau}"] = ("stem", 2, LeavingOut(partial(runs, tau)))
    rows["means of 2 after stem"] = ("stem", 2, LeavingOut(partial(means, 2)))
    rows["SFC, random weights, tau 2"] = ("stem", 2, sfc)
    rows["SGS over the whole clip, random weights"] = ("stem", 2, SGS(192, kernel="kronecker"))
    rows["1 of 2 frames after stem, mixed_4a keeping all"] = ("stem", 1, LeavingOut(partial(every, 2)))
    rows["1 of 2 frames after stem.pool_2a, mixed_4a keeping all"] = (
        "stem.pool_2a",
        1,
        LeavingOut(partial(every, 2)),
    )
    return rows


def networks() -> Iterator[tuple[str, CompressedModel]]:
    """All rows; the first is that which the others are compared with."""
    manifest = find_manifest(MODEL)
    for name, (cut, stride, compressor) in compressors().items():
        section = manifest.backbone.model_copy(update={"options": {"mixed_4a_stride": stride}})
        backbone = load_backbone(manifest.with_changes(backbone=section))
        yield name, CompressedModel(backbone, [Insertion(cut, compressor)]).eval()
    for kinds in manifest.alternatives:
        yield f"--strategy {kinds}", load_model(MODEL, Variant(kinds)).network


def main() -> None:
    tune_malloc()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--limit", type=int, help="only so many clips")
    parser.add_argument("--device", default="auto", help="as of classify")
    options = parser.parse_args()
    with CLASSES.open() as file:
        right = {row["ucf101"]: row["kinetics400"].split("|") for row in csv.DictReader(file)}
    videos = [video for video in find_labeled([options.folder])[0] if video.label in right][: options.limit]
    names = labels_of(find_manifest(MODEL))
    device = choose_device(options.device)
    costs: dict[str, float] = {}
    runners: dict[str, Runner] = {}
    for row, network in networks():
        costs[row] = gmacs(copy.deepcopy(network).to("meta"), FRAMES, 224, 224).total
        runners[row] = Runner(network, device, precision="fp32")
    logits: dict[str, list[Tensor]] = {row: [] for row in runners}
    spec, decoding = runners["whole"].spec, runners["whole"].decoding
    with DecodeWorker() as worker:
        for number, video in enumerate(videos, start=1):
            with worker.open(video.path, decoding) as reader:
                chunks = [seen_whole(spec, chunk.pixels).copy() for chunk in reader.chunks()]
            for row, runner in runners.items():
                logits[row].append(runner.whole(chunks).logits[0].float().cpu())
            print(f"{number} of {len(videos)}", flush=True)
    wanted = [right[str(video.label)] for video in videos]
    rows = []
    for row, said in logits.items():
        best = [[names[label] for label in one.topk(5).indices] for one in said]
        found = {
            "row": row,
            "gmacs": round(costs[row], 1),
            "clips": len(videos),
            "top1": sum(one[0] in labels for one, labels in zip(best, wanted, strict=True)),
            "top5": sum(bool({*one} & {*labels}) for one, labels in zip(best, wanted, strict=True)),
            "same": sum(int(a.argmax()) == int(b.argmax()) for a, b in zip(said, logits["whole"], strict=True)),
            "kl": round(float(torch.stack([kl(b, a) for a, b in zip(said, logits["whole"], strict=True)]).mean()), 3),
        }
        print(found, flush=True)
        rows.append(found)
    save("i3d_compression", {"rows": rows}, describe_machine(device))


def kl(whole: Tensor, said: Tensor) -> Tensor:
    """Of the probabilities that logits stand for."""
    return F.kl_div(said.log_softmax(0), whole.log_softmax(0), reduction="sum", log_target=True)


if __name__ == "__main__":
    main()
