"""Memory of classifying: the peak for one long video, and whether it grows with the number of videos.

    python -m benchmarks.memory LONG_VIDEO FOLDER [--videos 300]

Counts resident memory of this process and of its decoding process together. Results go to
benchmarks/results/memory.json.
"""

from __future__ import annotations

import argparse
import itertools
import time
from contextlib import suppress

import psutil

import vidcomp
from benchmarks.harness import save
from vidcomp.evaluation.benchmark import PeakSampler
from vidcomp.inference.classifier import Classifier
from vidcomp.video import find_videos


def resident_mib() -> int:
    """Resident memory of this process and its children, shared pages counted in each, in MiB."""
    total = 0
    for process in (psutil.Process(), *psutil.Process().children()):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return round(total / 2**20)


def sample_peak() -> PeakSampler:
    """Watch their memory until stopped."""
    return PeakSampler(resident_mib, every_s=0.02)


def one_long(path: str) -> dict[str, float | int]:
    with vidcomp.load(device="cpu") as classifier:
        loaded = resident_mib()
        peak = sample_peak()
        began = time.perf_counter()
        prediction = classifier.classify(path)
        seconds = time.perf_counter() - began
        peak_mib = peak.stop()
    assert prediction.ok, prediction.error
    return {
        "frames": prediction.frames.decoded,
        "model_loaded_mib": loaded,
        "peak_mib": peak_mib,
        "seconds": round(seconds, 2),
    }


def many(classifier: Classifier, paths: list[str], videos: int) -> dict[str, float | int]:
    """Label the folder's videos round after round: what a second round adds cannot come from the videos' own sizes."""
    after: dict[str, float | int] = {"videos": videos}
    for number, path in enumerate(itertools.islice(itertools.cycle(paths), videos), 1):
        classifier.classify(path)
        if number in (videos // 10, videos // 2, videos):
            after[f"after_{number}_mib"] = resident_mib()
    return after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("long_video")
    parser.add_argument("folder")
    parser.add_argument("--videos", type=int, default=300)
    options = parser.parse_args()
    paths = [video.path for video in find_videos([options.folder]).videos]
    results = {"one_long_video": one_long(options.long_video)}
    with vidcomp.load(device="cpu") as classifier:
        results["many_videos"] = many(classifier, paths, options.videos)
    save("memory", results)


if __name__ == "__main__":
    main()
