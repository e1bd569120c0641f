"""How time and memory grow with a video's frames, with the number of videos, and with the picture's size.

    python -m benchmarks.scaling [--parts frames videos resolution] [--rounds 3] [--plot]
    python -m benchmarks.scaling --parts long            # 4,096 frames of 1080p: some minutes, most to make the video

Each part is measured from the file to the labels, in rounds. The exponent is that of the power law that fits best
(least squares on logarithms); time against frames is fitted from 256 frames on, where fixed costs are small. Memory is
the highest resident memory of all processes together. Results go to benchmarks/results/scaling-PART.json, pictures to
docs/scaling-PART.png with --plot (needs matplotlib).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import vidcomp
from benchmarks.harness import DOCS, in_turns, save
from benchmarks.memory import sample_peak
from vidcomp.evaluation.benchmark import make_video
from vidcomp.inference.classifier import Classifier
from vidcomp.memory import tune_malloc

FRAMES = (64, 128, 256, 512, 1024, 2048, 4096)
VIDEOS = (1, 2, 4, 8, 16, 32, 64)
SIZES = ((160, 120), (320, 240), (640, 480), (1280, 720), (1920, 1080))
SIZE = (320, 240)
FITTED_FROM = 256
VIDEO_FRAMES = 128


def exponent(amounts: Sequence[float], seconds: Sequence[float]) -> float:
    """p of the law seconds = c · amount ** p that fits best."""
    return float(np.polyfit(np.log(amounts), np.log(seconds), 1)[0])


def classified(classifier: Classifier, paths: Sequence[Path]) -> Callable[[], None]:
    def run() -> None:
        for prediction in classifier.classify_all(map(str, paths)):
            assert prediction.ok, prediction.error

    return run


def points(
    classifier: Classifier, unit: str, paths: dict[int, list[Path]], rounds: int
) -> list[dict[str, float | int]]:
    """Seconds and peak memory for each amount."""
    peaks = {}
    for amount, videos in paths.items():
        peak = sample_peak()
        classified(classifier, videos)()
        peaks[amount] = peak.stop()
    seconds = in_turns({str(amount): classified(classifier, videos) for amount, videos in paths.items()}, rounds)
    return [
        {unit: amount, "seconds": round(statistics.median(seconds[str(amount)]), 4), "peak_mib": peaks[amount]}
        for amount in paths
    ]


def of_frames(classifier: Classifier, folder: Path, rounds: int, most: int) -> dict[str, Any]:
    paths = {n: [make_video(folder / f"{n}.mp4", n, SIZE)] for n in FRAMES if n <= most}
    rows = points(classifier, "frames", paths, rounds)
    fitted = [row for row in rows if row["frames"] >= FITTED_FROM]
    return {
        "exponent_of_time": round(exponent([r["frames"] for r in fitted], [r["seconds"] for r in fitted]), 3),
        "fitted_from_frames": FITTED_FROM,
        "points": rows,
    }


def of_videos(classifier: Classifier, folder: Path, rounds: int, most: int) -> dict[str, Any]:
    video = make_video(folder / "video.mp4", VIDEO_FRAMES, SIZE)
    rows = points(classifier, "videos", {n: [video] * n for n in VIDEOS if n <= most}, rounds)
    return {
        "exponent_of_time": round(exponent([r["videos"] for r in rows], [r["seconds"] for r in rows]), 3),
        "frames_a_video": VIDEO_FRAMES,
        "points": rows,
    }


def of_resolution(classifier: Classifier, folder: Path, rounds: int, most: int) -> dict[str, Any]:
    paths = {w * h: [make_video(folder / f"{w}x{h}.mp4", VIDEO_FRAMES, (w, h))] for w, h in SIZES}
    rows = points(classifier, "pixels", paths, rounds)
    return {
        "exponent_of_time": round(exponent([r["pixels"] for r in rows], [r["seconds"] for r in rows]), 3),
        "frames_a_video": VIDEO_FRAMES,
        "points": rows,
    }


def of_one_long(classifier: Classifier, folder: Path, rounds: int, most: int) -> dict[str, Any]:
    """One video of 1080p, once: what matters is its memory."""
    video = make_video(folder / "long.mp4", most, (1920, 1080))
    began = time.perf_counter()
    peak = sample_peak()
    classified(classifier, [video])()
    point = {"frames": most, "seconds": round(time.perf_counter() - began, 1), "peak_mib": peak.stop()}
    return {"size": "1920x1080", "points": [point]}


PARTS: dict[str, tuple[Callable[[Classifier, Path, int, int], dict[str, Any]], int, str]] = {
    "frames": (of_frames, 4096, "frames of a video of 320×240"),
    "videos": (of_videos, 64, "videos of 128 frames, 320×240"),
    "resolution": (of_resolution, 0, "pixels of a frame; 128 frames"),
    "long": (of_one_long, 4096, "frames"),
}


def plot(results: dict[str, Any], heading: str, path: Path) -> None:
    from matplotlib.figure import Figure

    rows = results["points"]
    unit = next(iter(rows[0]))
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, key, label in zip(
        figure.subplots(1, 2), ("seconds", "peak_mib"), ("seconds", "peak memory, MiB, all processes"), strict=True
    ):
        axes.plot([row[unit] for row in rows], [row[key] for row in rows], marker="o", color="#1f5f8b")
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_xlabel(heading)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        if key == "seconds":
            axes.set_yscale("log")
            axes.set_title(f"time grows with the power {results['exponent_of_time']:.2f}", fontsize=10)
        else:
            axes.set_ylim(0, 1.1 * max(row[key] for row in rows))
    figure.savefig(path, dpi=110)


def main() -> None:
    tune_malloc()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["frames", "videos", "resolution"])
    parser.add_argument("--model", default="ucf16-lite0")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--most", type=int, help="the most frames, or videos; by default 4096, or 64")
    parser.add_argument("--plot", action="store_true")
    options = parser.parse_args()
    for part in options.parts:
        measure, most, heading = PARTS[part]
        # A classifier of its own: memory kept from one part would be charged to the next.
        with tempfile.TemporaryDirectory() as folder, vidcomp.load(options.model, device=options.device) as classifier:
            results = measure(classifier, Path(folder), options.rounds, options.most or most)
        save(f"scaling-{part}", {"model": options.model, "rounds": options.rounds, **results})
        if options.plot and "exponent_of_time" in results:
            plot(results, heading, DOCS / f"scaling-{part}.png")


if __name__ == "__main__":
    main()
