"""Memory of classifying: the peak for one long video, and whether it grows with the number of videos.

    python benchmarks/memory.py LONG_VIDEO FOLDER [--videos 300]

Counts resident memory of this process and of its decoding process together (Linux). Results go to
benchmarks/results/memory.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import threading
import time
from pathlib import Path

import torch

import vidcomp
from vidcomp.evaluation.benchmark import describe_machine
from vidcomp.inference.classifier import Classifier
from vidcomp.video import find_videos


def resident_mib() -> float:
    """Resident memory of this process and its children, shared pages counted in each, in MiB."""
    total = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            if entry.name == str(os.getpid()) or parent == str(os.getpid()):
                total += int((entry / "statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total * os.sysconf("SC_PAGE_SIZE") / 2**20


class Peak:
    """Highest resident memory while the block runs, sampled every 20 ms."""

    def __enter__(self) -> Peak:
        self.mib = resident_mib()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(0.02):
            self.mib = max(self.mib, resident_mib())


def one_long(path: str) -> dict[str, float | int]:
    with vidcomp.load(device="cpu") as classifier, Peak() as peak:
        loaded = resident_mib()
        began = time.perf_counter()
        prediction = classifier.classify(path)
        seconds = time.perf_counter() - began
    assert prediction.ok, prediction.error
    return {
        "frames": prediction.frames.decoded,
        "model_loaded_mib": round(loaded),
        "peak_mib": round(peak.mib),
        "seconds": round(seconds, 2),
    }


def many(classifier: Classifier, paths: list[str], videos: int) -> dict[str, float | int]:
    """Label the folder's videos round after round: what a second round adds cannot come from the videos' own sizes."""
    after: dict[str, float | int] = {"videos": videos}
    for number, path in enumerate(itertools.islice(itertools.cycle(paths), videos), 1):
        classifier.classify(path)
        if number in (videos // 10, videos // 2, videos):
            after[f"after_{number}_mib"] = round(resident_mib())
    return after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("long_video")
    parser.add_argument("folder")
    parser.add_argument("--videos", type=int, default=300)
    options = parser.parse_args()
    paths = [video.path for video in find_videos([options.folder]).videos]
    results = {"machine": describe_machine(torch.device("cpu")), "one_long_video": one_long(options.long_video)}
    with vidcomp.load(device="cpu") as classifier:
        results["many_videos"] = many(classifier, paths, options.videos)
    text = json.dumps(results, indent=2)
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    (folder / "memory.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
