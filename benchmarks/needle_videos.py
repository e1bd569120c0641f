"""An action somewhere in a longer video, as a file: is it named, is it found, and what does that cost?

    python -m benchmarks.needle_videos --data ../shared/data --model ucf16-lite0 --videos 16

Each video is 40 s of street footage, or less, of which 15 % are a clip of an action (H.264, 320x240 pixels, 25 frames a
second). It is passed as `vidcomp classify --moments` does it, by each strategy; the clip alone is a file, too.
docs/moments.md has the results, which go to benchmarks/results/needle-videos-MODEL.json.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

import vidcomp
from benchmarks.faithfulness import mean_with_interval
from benchmarks.harness import save
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.prediction import Prediction
from vidcomp.memory import tune_malloc
from vidcomp.zoo.labels import labels_of
from vidcomp.zoo.manifest import find_manifest

CLASSES = Path(__file__).parent.parent / "tests" / "inference" / "ucf101_to_kinetics.csv"
FPS = 25
NEEDLE_S = 6.0
SHARE = 0.15
ALONE = "needle alone"
ROWS = {
    "kinetics400-i3d": ("whole", "sfc"),
    "ucf16-lite0": ("whole", "sfc", "sgs", "sgs+sfc", "bitstream"),
}
Pixels = NDArray[np.uint8]


def right_labels(model: str) -> dict[str, list[str]]:
    """For each class of UCF101 that the model names, the labels that are right."""
    labels = labels_of(find_manifest(model))
    if model.startswith("ucf16"):
        return {label: [label] for label in labels}
    with CLASSES.open() as file:
        return {row["ucf101"]: row["kinetics400"].split("|") for row in csv.DictReader(file)}


def overlap(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Temporal intersection over union."""
    shared = min(first[1], second[1]) - max(first[0], second[0])
    return max(0.0, shared) / (max(first[1], second[1]) - min(first[0], second[0]))


def drawn_clips(data: Path, classes: Sequence[str], count: int) -> list[Path]:
    """So many clips, the classes in turns."""
    drawn = random.Random(0)
    of_class = [sorted(data.glob(f"ucf16/val/{name}/*.mp4")) for name in classes]
    turns = itertools.zip_longest(*(drawn.sample(paths, len(paths)) for paths in of_class))
    return [path for turn in turns for path in turn if path is not None][:count]


def pictures(path: Path) -> list[Pixels]:
    """A video's pictures, 320x240."""
    with av.open(str(path)) as container:
        return [frame.reformat(320, 240, format="rgb24").to_ndarray() for frame in container.decode(video=0)]


def middle(path: Path) -> list[Pixels]:
    """Six seconds of a clip, or all of it."""
    shown = pictures(path)
    size = min(len(shown), round(NEEDLE_S * FPS))
    first = (len(shown) - size) // 2
    return shown[first : first + size]


def write(file: Path, shown: Sequence[Pixels]) -> None:
    """Encode pictures."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "23"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number, picture in enumerate(shown):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def hide(
    file: Path, needle: Sequence[Pixels], around: Sequence[Path], drawn: random.Random, share: float = SHARE
) -> tuple[float, float]:
    """Write a video with a needle, so much of it, somewhere; returns from when to when that is."""
    size = len(needle)
    rest = round(size / share) - size
    other = list(itertools.islice((picture for path in itertools.cycle(around) for picture in pictures(path)), rest))
    at = drawn.randint(0, rest)
    write(file, [*other[:at], *needle, *other[at:]])
    return at / FPS, (at + size) / FPS


def said(prediction: Prediction, right: Sequence[str], true: tuple[float, float]) -> dict[str, Any]:
    """What a prediction says of a video with a needle that is from when to when, and has these labels."""
    assert prediction.top is not None
    moments = prediction.moments or ()
    rightly = [(part.start_s, part.end_s) for part in moments if part.label.label in right]
    told: dict[str, Any] = {
        "right": prediction.top.label in right,
        "label": prediction.top.label,
        "probability": round(prediction.top.probability, 3),
        "moments": [[round(part.start_s, 2), round(part.end_s, 2), part.label.label] for part in moments],
        "overlap": round(max((overlap(part, true) for part in rightly), default=0.0), 3),
        "elsewhere": sum(overlap((part.start_s, part.end_s), true) == 0 for part in moments),
    }
    if prediction.attention is not None:
        mass, times = prediction.attention.weights.sum(axis=0), prediction.attention.seconds
        told["kept"] = round(float(np.mean(mass > 0)), 3)
        told["inside"] = round(float(mass[(times >= true[0]) & (times < true[1])].sum() / mass.sum()), 3)
    return told


def passed(model: str, data: Path, count: int, strategies: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What each strategy says of each of so many videos, and the first of the clip alone; seconds of processor time."""
    right, drawn, first = right_labels(model), random.Random(0), strategies[0]
    around = sorted(data.glob("fights/val/noFight/*"))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        classifiers: dict[str, Classifier] = {
            row: stack.enter_context(vidcomp.load(model, strategy=row, moments=row != "bitstream"))
            for row in strategies
        }
        for path in drawn_clips(data, list(right), count):
            file, alone = Path(folder) / f"{path.stem}.mp4", Path(folder) / f"{path.stem}.alone.mp4"
            needle = middle(path)
            true = hide(file, needle, drawn.sample(around, len(around)), drawn)
            write(alone, needle)
            for row in (ALONE, *strategies):
                began = time.process_time()
                prediction = classifiers[first if row == ALONE else row].classify(alone if row == ALONE else file)
                spent = time.process_time() - began
                if prediction.error is not None:
                    raise SystemExit(f"{row}: {prediction.error.message}")
                interval = (0.0, true[1] - true[0]) if row == ALONE else true
                told = said(prediction, right[path.parent.name], interval)
                yield {"needle": path.stem, "at": true, "row": row, **told, "cpu_s": round(spent, 2)}


def summary(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Each row's means over videos with their intervals; processor time as a share of that of the first strategy."""
    table: dict[str, Any] = {}
    rows = dict.fromkeys(one["row"] for one in results)
    first = {one["needle"]: one["cpu_s"] for one in results if one["row"] == next(row for row in rows if row != ALONE)}
    for row in rows:
        own = [one for one in results if one["row"] == row]
        named = [one for one in own if one["right"]]
        columns = {
            "top1": [float(one["right"]) for one in own],
            "found_if_named": [float(one["overlap"] >= 0.5) for one in named],
            "found_elsewhere": [float(one["elsewhere"]) for one in own],
            "kept": [one["kept"] for one in own if "kept" in one],
            "inside": [one["inside"] for one in own if "inside" in one],
            "cpu": [one["cpu_s"] / first[one["needle"]] for one in own],
        }
        table[row] = {name: mean_with_interval(values) for name, values in columns.items() if values}
    return table


def main() -> None:
    tune_malloc()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the shared videos: ucf16/val and fights/val are used")
    parser.add_argument("--model", default="kinetics400-i3d", choices=ROWS)
    parser.add_argument("--videos", type=int, default=12, help="how many")
    parser.add_argument("--strategy", nargs="+", help="rather than all; the first passes the clips alone, too")
    options = parser.parse_args()
    results = []
    for one in passed(options.model, options.data, options.videos, options.strategy or ROWS[options.model]):
        results.append(one)
        print(one, flush=True)
    save(f"needle-videos-{options.model}", {"rows": summary(results), "videos": results})


if __name__ == "__main__":
    main()
