"""A decoder, or a program, that comes to grief at one file: for tests that nothing else suffers.

The fault is armed by the environment, which decoding processes inherit: ``VIDCOMP_TEST_FAULT`` is `hang`, `crash`,
`memory`, `kill` or `terminate`, and every file whose name holds ``VICTIM`` meets it when its first frames are read.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vidcomp.video import Frames
from vidcomp.video.worker import process

VARIABLE = "VIDCOMP_TEST_FAULT"
VICTIM = "victim"
_CHILD = "from vidcomp.video.worker.child import main;"
_PRELOADED = (
    "av",
    "tests.decoders",
    "vidcomp.cli",
    "vidcomp.evaluation.evaluator",
    "vidcomp.output.labels_file",
    "vidcomp.training.compressor",
    "torch._dynamo",  # what counting GMACs imports
)
# Programs of their own without the two seconds that importing torch takes.
forked = multiprocessing.get_context("forkserver")
forked.set_forkserver_preload([__name__, *_PRELOADED])
BOOTSTRAP = process.BOOTSTRAP.replace(_CHILD, f"import tests.saboteur as s; s.arm_decoder(); {_CHILD}")


def arm_decoder() -> None:
    """Have this process, a decoding one, meet the fault."""
    from vidcomp.video.reader import Reader

    chunks = Reader.chunks

    def sabotaged(self: Reader, *given: Any, **options: Any) -> Iterator[Frames]:
        if VICTIM in os.path.basename(self.info.path):  # noqa: PTH119
            _strike(os.environ.get(VARIABLE))
        return chunks(self, *given, **options)

    Reader.chunks = sabotaged  # type: ignore[method-assign]


def _strike(fault: str | None) -> None:
    if fault == "hang":
        time.sleep(600)
    elif fault == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == "memory":
        bytearray(1 << 46)
    elif fault == "kill":
        os.kill(os.getppid(), signal.SIGKILL)
    elif fault == "terminate":
        os.kill(os.getppid(), signal.SIGTERM)


def run(
    arguments: Sequence[object],
    fault: str,
    told: Path,
    *,
    streams: Mapping[str, str | None] | None = None,
    largest_file: int | None = None,
) -> int:
    """The exit code of `vidcomp` in a process of its own, minus the signal's number if one ended it.

    All that it prints is in the file ``told`` then. Programs are forked from one that has imported everything.
    ``streams`` says where else `stdin`, `stdout` or `stderr` lead: to a file, or nowhere, as they are closed. No file
    that it writes gets more bytes than ``largest_file``, as on a disk that is full.
    """
    environment = {**os.environ, VARIABLE: fault}
    given = (list(map(str, arguments)), environment, told, dict(streams or {}), largest_file)
    program = forked.Process(target=_main, args=given)
    program.start()
    program.join()
    code: int = program.exitcode
    program.close()
    return code


def _main(
    arguments: list[str],
    environment: dict[str, str],
    told: Path,
    streams: dict[str, str | None],
    largest_file: int | None,
) -> None:
    from vidcomp.cli import main

    if largest_file is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    gc.freeze()  # to look through what is shared with others would copy it
    os.environ.update(environment)
    with told.open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    for name, path in streams.items():
        number = ("stdin", "stdout", "stderr").index(name)
        if path is None:
            os.close(number)
            setattr(sys, name, None)  # as the interpreter finds it
        else:
            os.dup2(os.open(path, os.O_WRONLY), number)
    process.BOOTSTRAP = BOOTSTRAP
    sys.argv = ["vidcomp", *arguments]
    main()
