"""Where decord is exact: its own frames and times beside PyAV's, for every video in some folders.

    python -m benchmarks.decoders FOLDER... [--most 200]

Each video is read twice in a process of its own, which may crash or hang: by vidcomp's PyAV reader, and in the loop
that a user of decord would write. Of each container and codec the table says in how many videos decord gave the same
frames, refused aloud, or was wrong in silence, and in how many its timestamps were. `vidcomp.video.decord` asks it for
the kinds of videos only in which it is exact, and never for its times. Results go to benchmarks/results/decoders.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidcomp.video import DecodeOptions, VideoError, open_reader

LIMIT_S = 120
# Mean difference of a picture's tiles in gray levels: what rounding leaves, and less than any two frames differ by.
SAME_PICTURE = 3.0
SAME_TIME_S = 0.002


def tiles(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means (16, 16, 3) of a picture's tiles; of small pictures some are one pixel."""
    for axis in (0, 1):
        edges = np.linspace(0, picture.shape[axis], 17).astype(int)[:-1]
        last = np.append(edges[1:], picture.shape[axis])
        sizes = np.maximum(1, last - edges).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        picture = np.add.reduceat(picture.astype(np.float32), edges, axis) / sizes
    return picture


def by_pyav(path: str) -> tuple[str, list[NDArray[np.float32]], list[float]]:
    """Container and codec, tiles and times of the frames that vidcomp reads with PyAV."""
    with open_reader(path, DecodeOptions(decoder="pyav", chunk_frames=8, max_damage=1.0)) as reader:
        chunks = [([tiles(picture) for picture in chunk.pixels], chunk.seconds.tolist()) for chunk in reader.chunks()]
        kind = f"{reader.info.container.split(',')[0]} {reader.info.codec}"
    return kind, [picture for pictures, _ in chunks for picture in pictures], [t for _, times in chunks for t in times]


def by_decord(path: str) -> tuple[list[NDArray[np.float32]], list[float]]:
    """Tiles and times of the frames that decord gives."""
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    reader = decord.VideoReader(os.path.abspath(path), num_threads=1)  # noqa: PTH100
    pictures = [tiles(reader.next().asnumpy()) for _ in range(len(reader))]
    times = [float(reader.get_frame_timestamp(number)[0]) for number in range(len(reader))]
    return pictures, [time - times[0] for time in times]


def compared(path: str) -> dict[str, Any]:
    """What decord makes of a video: "exact", "refused", or what is wrong."""
    try:
        kind, pictures, times = by_pyav(path)
    except VideoError as error:
        kind, pictures, times = f"unreadable ({error.kind})", [], []
    try:
        theirs, theirs_s = by_decord(path)
    except Exception:
        return {"kind": kind, "verdict": "refused"}
    if not pictures:
        return {"kind": kind, "verdict": f"invents {len(theirs)} frames"}
    if len(theirs) != len(pictures):
        return {"kind": kind, "verdict": f"{len(theirs)} frames instead of {len(pictures)}"}
    if theirs[0].shape != pictures[0].shape:
        return {"kind": kind, "verdict": f"pictures of {theirs[0].shape[2]} channels"}
    wrong = sum(bool(np.abs(a - b).mean() > SAME_PICTURE) for a, b in zip(pictures, theirs, strict=True))
    late = max(abs(a - times[0] - b) for a, b in zip(times, theirs_s, strict=True)) > SAME_TIME_S
    return {"kind": kind, "verdict": f"{wrong} other pictures" if wrong else "exact", "times_wrong": late}


def verdict(path: Path) -> dict[str, Any]:
    """As :func:`compared`, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.decoders", "--one", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False)
        answer: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {"verdict": "crashes"}
    except subprocess.TimeoutExpired:
        answer = {"verdict": "hangs"}
    return {"file": path.name, "kind": "unknown", **answer}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--most", type=int, default=200, help="videos of a folder, drawn by chance from larger ones")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(compared(options.one)))
        return
    # Imports torch, without which each video's own process starts in a fraction of a second.
    from benchmarks.harness import save

    rows = []
    for folder in options.folders:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        rows += [verdict(path) for path in random.Random(0).sample(files, min(options.most, len(files)))]
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        how = row["verdict"] if row["verdict"] in ("exact", "refused", "hangs", "crashes") else "wrong"
        kinds[row["kind"]].update([how, *(["times_wrong"] if row.get("times_wrong") else [])])
    odd = [row for row in rows if row["verdict"] != "exact" and not row["kind"].startswith("unreadable")]
    table = {kind: dict(kinds[kind]) for kind in sorted(kinds)}
    save("decoders", {"videos": len(rows), "kinds": table, "not_exact": odd})


if __name__ == "__main__":
    main()
