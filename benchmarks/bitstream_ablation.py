"""What each part of ucf16-bitstream is worth, and what its spikes cost.

    python benchmarks/bitstream_ablation.py DATA/ucf16/val --save benchmarks/results/bitstream-ablation.json

The model that ships, without some of its modalities: their tokens are zero, which it met in training. And with the
motion of another encoder: the same videos encoded anew. It was trained on the vectors that the files came with.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vidcomp.inference.runner import Runner
from vidcomp.inference.strategies import seen_whole
from vidcomp.nn.bitstream.modulators import Spiking
from vidcomp.training.bitstream import encoders_of
from vidcomp.video.bitstream import BitstreamOptions, BitstreamReader
from vidcomp.video.labeled import find_labeled
from vidcomp.zoo.build import load_model

MODEL = "ucf16-bitstream"
GRIDS = ("image", "motion", "difference")
CASES = {
    "all": GRIDS,
    "without differences": ("image", "motion"),
    "without motion": ("image", "difference"),
    "pictures alone": ("image",),
    "motion alone": ("motion",),
    "differences alone": ("difference",),
    "motion and differences": ("motion", "difference"),
}


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", help="a folder with a sub-folder per class")
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    model = load_model(MODEL)
    runner = Runner(model.network, torch.device("cpu"), precision="fp32")
    encoders = encoders_of(runner.network)  # type: ignore[arg-type]
    spikes = Spikes(encoders)
    videos, _ = find_labeled([options.videos])
    right: dict[str, dict[str, int]] = {"native": defaultdict(int), "transcoded": defaultdict(int)}
    for number, video in enumerate(videos, 1):
        wanted = model.labels.index(str(video.label))
        for vectors, counts in right.items():
            spikes.counting = vectors == "native"
            with torch.inference_mode():
                features = runner.encode(chunks(video.path, runner, "auto" if vectors == "native" else "always"))
                for case, kept in CASES.items():
                    grids = [grid * (name in kept) for name, grid in zip(GRIDS, features.chunk(3, dim=4), strict=True)]
                    logits = runner.network.finish(torch.cat(grids, dim=4)).logits
                    counts[case] += int(logits.argmax()) == wanted
        print(f"{number} of {len(videos)}", flush=True)
    result = {
        "model": MODEL,
        "videos": len(videos),
        "top1": {
            vectors: {case: round(100 * count / len(videos), 1) for case, count in counts.items()}
            for vectors, counts in right.items()
        },
        "spikes": spikes.summary(len(videos), model.network.segments[-1][0].modality.shape[0]),  # type: ignore[index]
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.save is not None:
        options.save.write_text(text + "\n", encoding="utf-8")


class Spikes:
    """Counts spikes of the modulators, and the steps in which neurons might have fired."""

    def __init__(self, encoders: Any) -> None:
        self.counting = True
        self.fired: dict[str, float] = defaultdict(float)
        self.chances: dict[str, float] = defaultdict(float)
        for name in ("motion", "residual", "difference"):
            modulator = getattr(getattr(encoders, name), "modulator", None)
            if isinstance(modulator, Spiking):
                modulator.register_forward_hook(self._hook(name))

    def _hook(self, name: str) -> Any:
        def note(module: Any, inputs: tuple[Tensor, Tensor], rates: Tensor) -> None:
            if self.counting:
                steps = inputs[1].sum(dim=1).view(-1, 1, 1, 1)
                self.fired[name] += float((rates * steps).sum())
                self.chances[name] += float(steps.sum()) * rates[0].numel()

        return note

    def summary(self, videos: int, channels: int) -> dict[str, dict[str, float]]:
        """Rates, and for a video spikes and the accumulate operations of the layer that reads them out."""
        return {
            name: {
                "rate": round(self.fired[name] / self.chances[name], 4),
                "spikes_per_video": round(self.fired[name] / videos),
                "accumulates_per_video": round(self.fired[name] / videos * channels),
            }
            for name in self.fired
        }


def chunks(path: str, runner: Runner, transcode: Literal["auto", "always"]) -> Iterator[dict[str, Any]]:
    """A video as the decoding process would hand it over, with the vectors asked for."""
    joined, steps = runner.spec.stride, 11 * runner.spec.stride
    options = BitstreamOptions(short_side=runner.spec.short_side, transcode=transcode, residual=False, difference=True)
    with BitstreamReader(path, options) as reader:
        groups = reader.groups()
        while some := list(islice(groups, joined)):
            arrays: dict[str, Any] = {"keyframes": seen_whole(runner.spec, some[0].anchor[None])}
            for name, slots in (("motion", steps), ("mask", steps), ("difference", joined)):
                values = np.concatenate([getattr(group, name) for group in some])
                arrays[name] = np.zeros((1, slots, *values.shape[1:]), values.dtype)
                arrays[name][0, : len(values)] = values
                arrays["differs" if name == "difference" else "present"] = (np.arange(slots) < len(values)).astype(
                    np.uint8
                )[None]
            yield arrays


if __name__ == "__main__":
    main()
