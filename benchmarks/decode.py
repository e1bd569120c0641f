"""Frames a second of decoding: vidcomp's isolated reader beside each decoder alone in a loop.

    python -m benchmarks.decode [--frames 300] [--rounds 5] [--size 320x240 1280x720]

"Alone" is the loop that a user of the decoder would write: open, decode every frame in this process, at the size that
the model takes, as RGB arrays; with one thread, as vidcomp decodes. torchcodec takes part if it is installed. Results
go to benchmarks/results/decode.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.harness import in_turns, save, summary
from vidcomp.evaluation.benchmark import make_video
from vidcomp.video import DecodeOptions, DecodeWorker, open_reader, target_size

SHORT_SIDE = 192


def pyav_loop(path: str, size: tuple[int, int]) -> int:
    import av

    count = 0
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        for frame in container.decode(stream):
            frame.to_ndarray(format="rgb24", width=size[0], height=size[1], interpolation="BICUBIC")
            count += 1
    return count


def decord_loop(path: str, size: tuple[int, int]) -> int:
    import decord

    reader = decord.VideoReader(path, width=size[0], height=size[1], num_threads=1)
    for _ in range(len(reader)):
        reader.next().asnumpy()
    return len(reader)


def torchcodec_loop(path: str, size: tuple[int, int]) -> int:
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    decoder = VideoDecoder(path, num_ffmpeg_threads=1, transforms=[Resize((size[1], size[0]))])
    return sum(1 for _ in decoder)


def in_process(path: str, options: DecodeOptions) -> int:
    with open_reader(path, options) as reader:
        return sum(len(chunk) for chunk in reader.chunks())


def isolated(path: str, options: DecodeOptions, worker: DecodeWorker) -> int:
    with worker.open(path, options) as reader:
        return sum(len(chunk) for chunk in reader.chunks())


def measure(path: str, size: tuple[int, int], frames: int, rounds: int, worker: DecodeWorker) -> dict[str, object]:
    small = target_size(*size, SHORT_SIDE)
    ways: dict[str, Callable[[], int]] = {
        "PyAV alone": partial(pyav_loop, path, small),
        "vidcomp isolated, PyAV": partial(isolated, path, DecodeOptions(SHORT_SIDE, chunk_frames=8), worker),
        "vidcomp in process, PyAV": partial(in_process, path, DecodeOptions(SHORT_SIDE)),
    }
    if importlib.util.find_spec("decord"):
        decord = DecodeOptions(SHORT_SIDE, decoder="decord", chunk_frames=8)
        ways["decord alone"] = partial(decord_loop, path, small)
        ways["vidcomp isolated, decord"] = partial(isolated, path, decord, worker)
    if importlib.util.find_spec("torchcodec"):
        ways["torchcodec alone"] = partial(torchcodec_loop, path, small)
    for name, way in ways.items():
        assert way() == frames, name
    rows = summary(in_turns(ways, rounds))
    for row in rows.values():
        row["frames_per_s"] = round(frames / row["seconds"])
    return {"decoded_to": "x".join(map(str, small)), "ways": rows}


def main() -> None:
    # decord crashes CUDA if it is imported before torch; the harness has imported torch by now.
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", nargs="+", default=["320x240", "1280x720"])
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder, DecodeWorker() as worker:
        for text in options.size:
            width, height = map(int, text.split("x"))
            path = make_video(Path(folder) / f"{text}.mp4", options.frames, (width, height))
            results[text] = measure(str(path), (width, height), options.frames, options.rounds, worker)
    save("decode", {"frames": options.frames, "rounds": options.rounds, "times_faster_than": "PyAV alone", **results})


if __name__ == "__main__":
    main()
