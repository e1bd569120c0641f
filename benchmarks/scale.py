"""What many actors cost and bring, beside `vidcomp classify` as it is on one machine.

    python -m benchmarks.scale overhead [--videos 500] [--rounds 2]   # the command with and without actors, in turns
    python -m benchmarks.scale workers  [--seconds 0.05]              # one actor and two, on videos that only take time
    python -m benchmarks.scale driver   [--videos 100000]             # the driver's memory and pace

Results go to benchmarks/results/scale-WHAT.json. Seconds of the clock are of the whole command, its start included;
processor seconds are of all its processes. Videos "that only take time" have a classifier that sleeps: what is measured
then is the engine, whatever else runs on the machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from vidcomp.inference.batch import RunStats
from vidcomp.inference.prediction import FrameCounts, Label, Prediction, Timing
from vidcomp.scale.actor import Loaded
from vidcomp.scale.archive import Recorder, label_archive
from vidcomp.scale.engine import Actors, connect
from vidcomp.scale.listing import Listing
from vidcomp.scale.parts import Parts
from vidcomp.video import VideoSelection

MIB = 1 << 20
RUN = "sleeper@0123456789abcdef whole fp32 top5 min0.0"


class Sleeper:
    """A classifier that takes so many seconds for a video, and looks at nothing."""

    most_begun = 2

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def batches(self, paths: Iterable[str], *, unexpected: Any) -> Iterator[list[Prediction]]:
        """Wait, and say the same of each."""
        for path in paths:
            if self.seconds:
                time.sleep(self.seconds)
            yield [answer_for(path)]


def answer_for(path: str) -> Prediction:
    labels = tuple(Label(f"action {number}", number, 0.2) for number in range(5))
    return Prediction(path, "sleeper", "whole", labels, FrameCounts(150, 150, 0, 6.0), Timing(0.0, 0.0))


@contextmanager
def asleep(seconds: float) -> Iterator[Loaded]:
    recorder = Recorder(RUN, 5, answer_for(""))
    yield Loaded(Sleeper(seconds), recorder, recorder)  # type: ignore[arg-type]


def timed(command: list[str]) -> dict[str, float]:
    """Seconds that a command takes, on the clock and of the processors, its children included."""
    spent: dict[int, float] = {}
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as program:
        process = psutil.Process(program.pid)
        while program.poll() is None:
            for one in [process, *_children(process)]:
                try:
                    times = one.cpu_times()
                    spent[one.pid] = times.user + times.system
                except psutil.Error:
                    continue
            time.sleep(0.1)
    if program.returncode:
        sys.exit(f"{' '.join(command)} ended with {program.returncode}")
    return {"seconds": round(time.perf_counter() - began, 2), "processor_seconds": round(sum(spent.values()), 2)}


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = process.children(recursive=True)
    except psutil.Error:
        return []
    return found


def overhead(videos: int, rounds: int, model: str) -> dict[str, Any]:
    """The command with and without actors, of the same CPUs."""
    from tests import clips

    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "videos").mkdir()
        clip = clips.make_clip(folder / "clip.mp4", 48, size=(320, 240)).read_bytes()
        for number in range(videos):
            (folder / "videos" / f"{number:05}.mp4").write_bytes(clip)
        plain = [sys.executable, "-m", "vidcomp", "classify", str(folder / "videos"), "--model", model, "--quiet"]
        taken: dict[str, list[dict[str, float]]] = {"plain": [], "ray": []}
        for number in range(rounds):
            taken["plain"].append(timed([*plain, "--output", str(folder / f"{number}.jsonl")]))
            on_ray = ["--engine", "ray", "--actors", "1", "--actor-cpus", str(cores)]
            taken["ray"].append(timed([*plain, *on_ray, "--output", str(folder / f"{number}")]))
    ratios = {
        key: [round(ray[key] / one[key], 3) for one, ray in zip(taken["plain"], taken["ray"], strict=True)]
        for key in ("seconds", "processor_seconds")
    }
    return {"videos": videos, "frames": 48, "size": [320, 240], "model": model, "rounds": taken, "ratios": ratios}


def shared_out(videos: int, actors: int, seconds: float) -> dict[str, Any]:
    """Label a list of videos that are not there with sleeping classifiers; times begin with the first answer."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as name:
        manifest = Path(name) / "list.parquet"
        paths = [f"/archive/2026/camera-{number % 97:03}/video-{number:09}.mp4" for number in range(videos)]
        pq.write_table(pa.table({"path": paths}), manifest)
        del paths
        listing = Listing([str(manifest)], selection=VideoSelection())
        stats = RunStats(listing.count())
        first, began = 0.0, time.perf_counter()
        with Parts(str(Path(name) / "labels"), "parquet") as parts:
            load = partial(asleep, seconds)
            for _ in label_archive(listing.jobs(), parts, load, stats, actors=Actors(least=actors, cpus=1)):
                first = first or time.perf_counter()
        ended = time.perf_counter()
    return {
        "actors": actors,
        "videos": stats.done,
        "start_s": round(first - began, 2),
        "seconds": round(ended - first, 2),
        "videos_per_s": round(stats.done / (ended - first), 1),
    }


def workers(seconds: float) -> dict[str, Any]:
    """One actor and two, in turns."""
    connect()
    rows = [shared_out(400 * actors, actors, seconds) for _ in range(3) for actors in (1, 2)]
    pairs = zip(rows[::2], rows[1::2], strict=True)
    ideal = {"videos_per_s_per_actor": 1 / seconds}
    return {
        **ideal,
        "rows": rows,
        "times_faster": [round(two["videos_per_s"] / one["videos_per_s"], 3) for one, two in pairs],
    }


def driver(videos: int) -> dict[str, Any]:
    """What the driver holds, and how fast it is, when videos take no time."""
    process = psutil.Process()
    connect()
    before, peak = process.memory_info().rss, 0
    stop = False

    def watch() -> None:
        nonlocal peak
        while not stop:
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    spent = time.process_time()
    row = shared_out(videos, 2, 0.0)
    spent = time.process_time() - spent
    stop = True
    watcher.join()
    memory = {"before_mib": round(before / MIB), "peak_mib": round(peak / MIB)}
    return {**row, **memory, "driver_processor_ms_per_video": round(1000 * spent / videos, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["overhead", "workers", "driver"])
    parser.add_argument("--videos", type=int)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--model", default="ucf16-lite0")
    options = parser.parse_args()
    if options.what == "overhead":
        results = overhead(options.videos or 500, options.rounds, options.model)
    elif options.what == "workers":
        results = workers(options.seconds)
    else:
        results = driver(options.videos or 100_000)
    # It imports torch, which the driver does without.
    from benchmarks.harness import save

    save(f"scale-{options.what}", {**results, "load": [round(load, 1) for load in os.getloadavg()]})


if __name__ == "__main__":
    main()
