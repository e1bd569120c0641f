"""What reading a bitstream costs beside decoding every frame: microseconds of one thread's processor time per frame.

    python -m benchmarks.bitstream VIDEO... [--name ucf16] [--rounds 5]

All ways read the same files in turns. "full" is every frame as RGB of 160 pixels' short side. Results go to
benchmarks/results/bitstream-NAME.json; ratios say more than times on a machine that does other things too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

from benchmarks.harness import save
from vidcomp.video import DecodeOptions, Selection, open_reader
from vidcomp.video.bitstream import BitstreamOptions, BitstreamReader

SIDE = 160


def frames(selection: Selection, path: str) -> None:
    with open_reader(path, DecodeOptions(SIDE, selection, decoder="pyav")) as reader:
        for _ in reader.chunks():
            pass


def groups(options: BitstreamOptions, path: str) -> None:
    with BitstreamReader(path, options) as reader:
        for _ in reader.groups():
            pass


WAYS: dict[str, Callable[[str], None]] = {
    "full": partial(frames, Selection()),
    "every 8th frame": partial(frames, Selection(8)),
    "key packets": partial(frames, Selection(keys=True)),
    "anchors": partial(groups, BitstreamOptions(motion=False, residual=False)),
    "anchors, motion of every 3rd P-frame": partial(groups, BitstreamOptions(residual=False, motion_every=3)),
    "anchors, motion": partial(groups, BitstreamOptions(residual=False)),
    "anchors, motion, residuals": partial(groups, BitstreamOptions()),
    "the same, encoded anew": partial(groups, BitstreamOptions(transcode="always")),
}


def measure(paths: Sequence[str], rounds: int) -> dict[str, object]:
    count = 0
    for path in paths:
        with BitstreamReader(path) as reader:
            count += reader.skim().frames
    spent: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(rounds + 1):
        for name, way in WAYS.items():
            began = time.process_time()
            for path in paths:
                way(path)
            if number:  # the first round warms up
                spent[name].append((time.process_time() - began) / count * 1e6)
    full = spent["full"]
    rows = {
        name: {
            "us_per_frame": round(median(values)),
            "range": [round(min(values)), round(max(values))],
            "share_of_full": round(median(one / all_ for one, all_ in zip(values, full, strict=True)), 3),
        }
        for name, values in spent.items()
    }
    return {"videos": len(paths), "frames": count, "rounds": rounds, "ways": rows}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+")
    parser.add_argument("--name", default="videos")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    save(f"bitstream-{given.name}", measure(given.videos, given.rounds))
