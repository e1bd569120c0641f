"""What each step of the engine brings: the same work with the step and without it, in turns.

    python -m benchmarks.steps [--steps ahead duplicates chunks views videos precision compile] [--rounds 5]

Results go to benchmarks/results/steps.json; docs/engine.md quotes them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness import in_turns, save, summary
from vidcomp.evaluation.benchmark import make_video
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.device import cpu_has_bf16
from vidcomp.inference.runner import Runner, dummy_clip
from vidcomp.memory import BatchSize, tune_malloc
from vidcomp.zoo.build import build_network, load_model
from vidcomp.zoo.manifest import find_manifest

FRAMES = 32
VIDEOS, VIDEO_FRAMES, VIDEO_SIZE = 8, 150, (320, 240)
SLOW = "slow_r50_8x8-sfc"

Ways = dict[str, Callable[[], object]]


def new_runner(model: str, **options: Any) -> Runner:
    """The model with random weights: the cost is the same."""
    torch.manual_seed(0)
    return Runner(build_network(find_manifest(model)), torch.device("cpu"), **options)


def clip_for(runner: Runner, frames: int = FRAMES) -> np.ndarray:
    side = runner.spec.short_side
    return dummy_clip(frames, side, side * 4 // 3)


def ahead(model: str, stack: ExitStack) -> Ways:
    """A folder of videos: one after the other, and with the next ones decoded meanwhile."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    paths = [str(make_video(folder / f"{n}.mp4", VIDEO_FRAMES, VIDEO_SIZE)) for n in range(VIDEOS)]
    one = stack.enter_context(Classifier(load_model(model), device="cpu", decode_workers=1))
    two = stack.enter_context(Classifier(load_model(model), device="cpu", decode_workers=2))
    return {
        "one video after the other": lambda: [one.classify(path) for path in paths],
        "1 process decodes ahead": lambda: list(one.classify_all(paths)),
        "2 processes decode ahead": lambda: list(two.classify_all(paths)),
    }


def duplicates(model: str, stack: ExitStack) -> Ways:
    """Videos in which no frame, every second, and every frame but the first is a repetition."""
    runner = new_runner(model)
    moving = clip_for(runner)
    return {
        "no frame repeated": lambda: runner.whole([moving]),
        "half of the frames repeated": lambda: runner.whole([moving[: FRAMES // 2].repeat(2, axis=0)]),
        "still": lambda: runner.whole([moving[:1].repeat(FRAMES, axis=0)]),
    }


def chunks(model: str, stack: ExitStack) -> Ways:
    """The head in one piece, and in chunks of so many frames."""
    runner = new_runner(model)
    clip = clip_for(runner)

    def run(frames: int) -> None:
        runner.chunk_frames = frames
        runner.whole([clip])

    return {"in one piece": partial(run, FRAMES)} | {f"chunks of {n}": partial(run, n) for n in (4, 8, 16)}


def views(model: str, stack: ExitStack) -> Ways:
    """Six dense views, so many at a time."""
    runner = new_runner(model)
    side = runner.spec.crop
    clips = [runner.tensor(dummy_clip(runner.spec.clip_frames, side, side)) for _ in range(6)]

    def run(at_once: int) -> None:
        list(BatchSize(at_once).run(clips, lambda group: runner.probabilities(torch.cat(list(group)))))

    return {f"{n} at a time": partial(run, n) for n in (1, 2, 3, 6)}


def videos(model: str, stack: ExitStack) -> Ways:
    """Six videos of equal shape, so many at a time through compressor and tail."""
    runner = new_runner(model)
    features = [runner.encode([clip_for(runner)]) for _ in range(6)]

    def run(at_once: int) -> None:
        runner.videos_at_once = BatchSize(at_once)
        runner.finish(features)

    return {f"{n} at a time": partial(run, n) for n in (1, 2, 3, 6)}


def precision(model: str, stack: ExitStack) -> Ways:
    """One video in float32 and in bfloat16, if this processor has it."""
    ways: Ways = {}
    for name in ("fp32", "bf16") if cpu_has_bf16() else ("fp32",):
        runner = new_runner(model, precision=name)
        ways[name] = partial(runner.whole, [clip_for(runner)])
    return ways


def compiled(model: str, stack: ExitStack) -> Ways:
    """One video with the network as it is, and compiled; compiling is timed apart."""
    plain, fast = new_runner(model), new_runner(model)
    clip = clip_for(plain)
    compilation = fast.compile()
    if compilation.problem is not None:
        raise SystemExit(f"--steps compile: {compilation.problem}")
    name = f"compiled in {compilation.seconds:.0f} s"
    return {"eager": partial(plain.whole, [clip]), name: partial(fast.whole, [clip])}


STEPS = {
    "ahead": ahead,
    "duplicates": duplicates,
    "chunks": chunks,
    "views": views,
    "videos": videos,
    "precision": precision,
    "compile": compiled,
}


def main() -> None:
    tune_malloc()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--model", nargs="+", default=["ucf16-lite0"], help=f"for example {SLOW}, ahead left out")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    results: dict[str, Any] = {"rounds": options.rounds, "frames": FRAMES}
    for model in options.model:
        results[model] = {}
        for step in options.steps:
            print(f"{model}: {step}", file=sys.stderr, flush=True)
            with ExitStack() as stack:
                results[model][step] = summary(in_turns(STEPS[step](model, stack), options.rounds))
    save("steps", results)


if __name__ == "__main__":
    main()
