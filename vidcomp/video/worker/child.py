"""The decoding process: reads commands on its standard input, decodes into shared memory, answers on its output.

See `process` for what it is told and answers, and `worker` for who asks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import importlib
import json
import mmap
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO

from vidcomp.memory import cap_memory
from vidcomp.video import decord
from vidcomp.video.container import describe
from vidcomp.video.errors import DecodeFailed, VideoError, VideoOutOfMemory
from vidcomp.video.groups import GroupReader
from vidcomp.video.inspection import inspect_video
from vidcomp.video.reader import Reader, open_reader
from vidcomp.video.worker.process import Message, options_from_json, slot_arrays, slot_layout

# How long nothing is asked of a new process before it prepares for what may be asked.
_IDLE_S = 0.25


class Stopped(Exception):  # noqa: N818 - not an error: the parent has seen enough
    """The parent wants no more of this video."""


def main(memory_bytes: int) -> None:
    """Serve the parent until it closes our standard input, by which we also learn of its death.

    No video may make this process take more than ``memory_bytes`` beyond what it has at the start.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    decord.listen()
    # What a library prints must not mix with the answers.
    os.dup2(2, 1)
    importlib.import_module("av")
    cap_memory(memory_bytes)
    commands: queue.Queue[Message] = queue.Queue()
    threading.Thread(target=_listen, args=(sys.stdin, commands), daemon=True).start()
    ring = _Ring()
    _answer(answers, {"ready": True})
    for command in _each(commands):
        if "stop" in command or "slot" in command:
            continue  # it crossed with the end of its video
        try:
            if "probe" in command:
                reply = _probe(command)
            elif "inspect" in command:
                reply = _inspect(command)
            else:
                reply = _decode(command, commands, answers, ring)
        except VideoError as error:
            reply = {"error": {"kind": error.kind, "reason": error.reason}}
        except MemoryError:
            reply = {"error": {"kind": VideoOutOfMemory.kind, "reason": "there was not enough memory to decode it"}}
        except Exception as error:
            reason = f"the decoder failed unexpectedly ({type(error).__name__}: {error})"
            reply = {"error": {"kind": DecodeFailed.kind, "reason": reason}}
        faulthandler.cancel_dump_traceback_later()
        _answer(answers, reply)


def _listen(source: IO[str], commands: queue.Queue[Message]) -> None:
    for line in source:
        commands.put(json.loads(line))
    os._exit(0)


def _each(commands: queue.Queue[Message]) -> Iterator[Message]:
    """The commands in their order; decord is loaded while nobody waits, or when it is needed, which it may never be."""
    try:
        first = [commands.get(timeout=_IDLE_S)]
    except queue.Empty:
        first = []
        with contextlib.suppress(ImportError, OSError):
            decord.load()
    yield from first
    while True:
        yield commands.get()


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


def _inspect(command: Message) -> Message:
    _limit(command["limit_s"])
    return {"inspection": dataclasses.asdict(inspect_video(command["inspect"]))}


def _decode(command: Message, commands: queue.Queue[Message], answers: IO[str], ring: _Ring) -> Message:
    options = options_from_json(command["options"])
    _limit(command["limit_s"])
    with open_reader(command["decode"], options) as reader:
        _answer(answers, {"info": dataclasses.asdict(reader.info), "size": reader.size, "layout": reader.layout})
        try:
            spent_s = _serve(reader, commands, answers, ring)
        except Stopped:
            return {"stopped": True}
        return {"report": dataclasses.asdict(reader.report), "spent_s": spent_s}


def _serve(reader: Reader | GroupReader, commands: queue.Queue[Message], answers: IO[str], ring: _Ring) -> float:
    """Decode every chunk straight into a slot that the parent has freed. Returns the seconds that decoding took."""
    given = _wait(commands)
    capacity = given["frames"]
    buffer = ring.attach(given["memory"])
    layout = slot_layout(reader.size, reader.layout)
    slots = [slot_arrays(buffer, n * given["slot_bytes"], capacity, layout) for n in range(given["slots"])]
    free = 0
    chunks = reader.chunks(lambda shape: slots[free]["pixels"], capacity)
    spent_s = 0.0
    while True:
        free = _wait(commands)["slot"]
        _limit(max(1.0, given["limit_s"] - spent_s))
        begun = time.monotonic()
        chunk = next(chunks, None)
        spent_s += time.monotonic() - begun
        if chunk is None:
            return spent_s
        for name, values in {"seconds": chunk.seconds, "indices": chunk.indices, **(chunk.beside or {})}.items():
            slots[free][name][: len(chunk)] = values
        _answer(answers, {"slot": free, "frames": len(chunk), "spent_s": spent_s})


class _Ring:
    """The parent's shared memory, kept from video to video while it stays the same."""

    def __init__(self) -> None:
        self._file: str | None = None
        self._memory: mmap.mmap | None = None

    def attach(self, file: str) -> memoryview:
        if self._memory is None or self._file != file:
            self._memory = None  # unmapped before the next is mapped
            with open(file, "r+b") as opened:  # noqa: PTH123
                self._memory = mmap.mmap(opened.fileno(), 0)
            self._file = file
            with contextlib.suppress(OSError):  # Windows keeps it; there the parent removes it
                os.unlink(file)  # noqa: PTH108
        return memoryview(self._memory)


def _wait(commands: queue.Queue[Message]) -> Message:
    # No limit while it is the parent that takes its time.
    faulthandler.cancel_dump_traceback_later()
    command = commands.get()
    if "stop" in command:
        raise Stopped
    return command
