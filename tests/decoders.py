"""Decoding processes forked from one that has imported what they need: a fresh interpreter takes ten times as long.

All else is as it is: each is a process of its own, which can be killed, with the environment of whoever starts it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from tests.saboteur import forked
from vidcomp.video.worker import child, process

# Two threads that ask for the same exit code at once would take it from each other.
_LOCK = threading.RLock()
_OWNER = os.getpid()


class ForkedDecoder:
    """What the program uses of `subprocess.Popen`."""

    def __init__(self, command: Sequence[str]) -> None:
        commands, asking = forked.Pipe(duplex=False)
        answering, answers = forked.Pipe(duplex=False)
        given = (command[-1], commands, answers, dict(os.environ), str(Path.cwd()))
        with _LOCK:
            self._process = forked.Process(target=_decode, args=given, daemon=True)
            self._process.start()
        self.pid = self._process.pid
        self.stdin, self.stdout = os.fdopen(os.dup(asking.fileno()), "wb"), os.fdopen(os.dup(answering.fileno()), "rb")
        for end in (commands, asking, answering, answers):
            end.close()

    def poll(self) -> int | None:
        with _LOCK:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        with _LOCK:
            self._process.join(timeout)
            if self._process.exitcode is None:
                raise subprocess.TimeoutExpired("decoder", timeout or 0)
            return self._process.exitcode

    def kill(self) -> None:
        with _LOCK:
            self._process.kill()


def _decode(program: str, commands: Connection, answers: Connection, environment: dict[str, str], folder: str) -> None:
    gc.freeze()  # to look through what is shared with others would copy it
    os.setsid()
    child._IDLE_S = 60.0  # decord is loaded when it is needed, which it seldom is
    os.environ.clear()
    os.environ.update(environment)
    with contextlib.suppress(OSError):  # it may be gone
        os.chdir(folder)
    os.dup2(commands.fileno(), 0)
    os.dup2(answers.fileno(), 1)
    commands.close()
    answers.close()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.stdin = os.fdopen(0, encoding="utf-8")
    exec(program, {})


def _has_folder() -> bool:
    """Whether the folder to work in is still there: a server cannot start without."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


@contextlib.contextmanager
def forking() -> Iterator[None]:
    """Within this, decoding processes of this process, though not those of its children, are forked ones."""
    given = subprocess.Popen

    def start(command: Sequence[str], **options: Any) -> Any:
        return ForkedDecoder(command) if os.getpid() == _OWNER and _has_folder() else given(command, **options)

    with mock.patch.object(process, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": start})):
        yield
