"""What makes I3D faster on a CPU with the same answer: processor time, one step after the other.

    python -m benchmarks.i3d_inception [--frames 32] [--rounds 2]

Processor time of this process on one thread, so that other programs on the machine count little. Pictures are noise of
224×224 pixels. Results go to benchmarks/results/i3d_inception.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.harness import save
from vidcomp.evaluation.benchmark import describe_machine
from vidcomp.nn.backbones.i3d_inception import SameMaxPool3d
from vidcomp.nn.compressors import Identity
from vidcomp.nn.layers import fuse_bn
from vidcomp.nn.receptive_field import run_in_chunks
from vidcomp.nn.whole_video import CompressedModel, Insertion
from vidcomp.zoo.build import load_backbone
from vidcomp.zoo.manifest import find_manifest

MODEL = "kinetics400-i3d"
CHUNK = 4


def cpu_seconds(work: Callable[[], Tensor], rounds: int) -> tuple[float, Tensor]:
    """The least processor time of some calls, and their result."""
    result = work()
    seconds = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return min(seconds), result


def model_of(cut: str, *, pool: Callable[[SameMaxPool3d], nn.Module] = lambda pool: pool) -> CompressedModel:
    model = CompressedModel(load_backbone(find_manifest(MODEL)), [Insertion(cut, Identity())]).eval()
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, SameMaxPool3d) and child.stride == (1, 1, 1):
                setattr(module, name, pool(child))
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    machine = describe_machine(torch.device("cpu"))
    torch.manual_seed(0)
    clip = torch.rand(1, 3, options.frames, 224, 224) * 2 - 1
    by_last = clip.contiguous(memory_format=torch.channels_last_3d)
    at_once = model_of("mixed_5", pool=lambda pool: nn.MaxPool3d(3, 1, 1))
    by_axis = model_of("mixed_5")
    rows: dict[str, Any] = {}
    expected: Tensor | None = None

    def measured(step: str, work: Callable[[], Tensor]) -> None:
        nonlocal expected
        with torch.inference_mode():
            seconds, logits = cpu_seconds(work, options.rounds)
        expected = logits if expected is None else expected
        first = next(iter(rows.values()))["cpu_s"] if rows else seconds
        rows[step] = {
            "cpu_s": round(seconds, 3),
            "times_faster": round(first / seconds, 2),
            "largest_difference": round(float((logits - expected).abs().max()), 6),
        }

    measured("layers as they are", lambda: at_once(clip).logits)
    fuse_bn(at_once)
    measured("BatchNorm folded", lambda: at_once(clip).logits)
    at_once.to(memory_format=torch.channels_last_3d)
    measured("channels last", lambda: at_once(by_last).logits)
    fuse_bn(by_axis)
    by_axis.to(memory_format=torch.channels_last_3d)
    measured("pools axis by axis", lambda: by_axis(by_last).logits)
    field = by_axis.head_field
    assert field is not None

    def in_windows_of_the_head() -> Tensor:
        pieces = run_in_chunks(by_axis.head, field, by_last.split(CHUNK, dim=2), remainder=options.frames)
        return by_axis.finish(torch.cat(list(pieces), dim=2)).logits

    measured("in windows of the whole head", in_windows_of_the_head)
    measured(
        "in windows of each layer",
        lambda: by_axis.finish(by_axis.encode(by_last.split(CHUNK, dim=2), remainder=options.frames)).logits,
    )
    save("i3d_inception", {"frames": options.frames, "size": 224, "steps": rows}, machine)


if __name__ == "__main__":
    main()
