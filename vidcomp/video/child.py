"""The decoding process: reads commands on its standard input, decodes into shared memory, answers on its output.

Messages are lines of JSON, never pickles: this process handles files that may be hostile, and its parent must not have
to trust it. See `isolation` for the parent's side.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import importlib
import json
import os
import queue
import sys
import threading
import time
from multiprocessing import resource_tracker, shared_memory
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vidcomp.video.container import describe
from vidcomp.video.errors import DecodeFailed, VideoError
from vidcomp.video.frames import Frames
from vidcomp.video.reader import DecodeOptions, Reader
from vidcomp.video.sampling import Selection

Message = dict[str, Any]


class Stopped(Exception):  # noqa: N818 - not an error: the parent has seen enough
    """The parent wants no more of this video."""


def slot_bytes(frames: int, size: tuple[int, int]) -> int:
    """Bytes of shared memory for a chunk of `frames` frames of `size` (width, height)."""
    return frames * (16 + 3 * size[0] * size[1])


def slot_arrays(
    buffer: memoryview, offset: int, frames: int, size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.uint8]]:
    """The seconds (T,), indices (T,) and pixels (T, H, W, 3) of the slot that begins at `offset`."""
    width, height = size
    # An array made by frombuffer keeps the memory from being unmapped under it, which np.ndarray(buffer=…) does not.
    seconds: NDArray[np.float64] = np.frombuffer(buffer, np.float64, frames, offset)
    indices: NDArray[np.int64] = np.frombuffer(buffer, np.int64, frames, offset + 8 * frames)
    pixels: NDArray[np.uint8] = np.frombuffer(buffer, np.uint8, frames * height * width * 3, offset + 16 * frames)
    return seconds, indices, pixels.reshape(frames, height, width, 3)


def options_to_json(options: DecodeOptions) -> Message:
    """Options as JSON can carry them."""
    return dataclasses.asdict(options)


def options_from_json(message: Message) -> DecodeOptions:
    """The options that `options_to_json` was given."""
    indices = message["selection"]["indices"]
    selection = Selection(message["selection"]["stride"], None if indices is None else tuple(indices))
    return DecodeOptions(**{**message, "selection": selection})


def main() -> None:
    """Serve the parent until it closes our standard input, by which we also learn of its death."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    # What a library prints must not mix with the answers.
    os.dup2(2, 1)
    # The parent owns the shared memory. Up to Python 3.12 this process would, at its end, unlink it too, and warn.
    resource_tracker.register = lambda *_: None
    with contextlib.suppress(ImportError, OSError):
        importlib.import_module("decord")
    commands: queue.Queue[Message] = queue.Queue()
    threading.Thread(target=_listen, args=(sys.stdin, commands), daemon=True).start()
    _answer(answers, {"ready": True})
    while True:
        command = commands.get()
        if "stop" in command or "slot" in command:
            continue  # it crossed with the end of its video
        try:
            reply = _probe(command) if "probe" in command else _decode(command, commands, answers)
        except VideoError as error:
            reply = {"error": {"kind": error.kind, "reason": error.reason}}
        except MemoryError:
            reply = {"error": {"kind": "decode_failed", "reason": "there was not enough memory to decode it"}}
        except Exception as error:
            reason = f"the decoder failed unexpectedly ({type(error).__name__}: {error})"
            reply = {"error": {"kind": DecodeFailed.kind, "reason": reason}}
        faulthandler.cancel_dump_traceback_later()
        _answer(answers, reply)


def _listen(source: IO[str], commands: queue.Queue[Message]) -> None:
    for line in source:
        commands.put(json.loads(line))
    os._exit(0)


def _answer(answers: IO[str], message: Message) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _limit(seconds: float) -> None:
    """End this process after `seconds`, even if a decoder hangs with the interpreter's lock and the parent is gone."""
    faulthandler.dump_traceback_later(seconds, exit=True)


def _probe(command: Message) -> Message:
    _limit(command["limit_s"])
    info = describe(command["probe"], count=command["count"], max_pixels=command["max_pixels"])
    return {"info": dataclasses.asdict(info)}


def _decode(command: Message, commands: queue.Queue[Message], answers: IO[str]) -> Message:
    options = options_from_json(command["options"])
    limit_s = command["limit_s"]
    _limit(limit_s)
    with Reader(command["decode"], options) as reader:
        _answer(answers, {"info": dataclasses.asdict(reader.info), "size": reader.size})
        spent = 0.0
        try:
            ring = _wait(commands)
            limit_s = ring["limit_s"]
            memory = shared_memory.SharedMemory(ring["memory"])
            try:
                capacity = options.frames_per_chunk(reader.size)
                chunks = reader.chunks()
                while True:
                    slot = _wait(commands)["slot"]
                    begun = time.monotonic()
                    _limit(max(1.0, limit_s - spent))
                    chunk = next(chunks, None)
                    spent += time.monotonic() - begun
                    if chunk is None:
                        break
                    offset = slot * ring["slot_bytes"]
                    _fill(memory.buf, offset, capacity, reader.size, chunk)
                    _answer(answers, {"slot": slot, "frames": len(chunk), "spent_s": spent})
            finally:
                memory.close()
        except Stopped:
            return {"stopped": True}
        return {"report": dataclasses.asdict(reader.report), "spent_s": spent}


def _fill(buffer: memoryview | None, offset: int, capacity: int, size: tuple[int, int], chunk: Frames) -> None:
    assert buffer is not None  # it is, until the memory is closed
    seconds, indices, pixels = slot_arrays(buffer, offset, capacity, size)
    seconds[: len(chunk)] = chunk.seconds
    indices[: len(chunk)] = chunk.indices
    pixels[: len(chunk)] = chunk.pixels


def _wait(commands: queue.Queue[Message]) -> Message:
    # No limit while it is the parent that takes its time.
    faulthandler.cancel_dump_traceback_later()
    command = commands.get()
    if "stop" in command:
        raise Stopped
    return command
