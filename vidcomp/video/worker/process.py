"""The parent's hold on a decoding process: its life, and its messages."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import weakref
from typing import IO

from vidcomp.video.worker.protocol import Message

_START_LIMIT_S = 60.0
_DYING_LIMIT_S = 2.0
_BOOTSTRAP = "import sys; sys.path[:] = {path!r}; from vidcomp.video.worker.child import main; main({memory})"


class DecoderUnavailable(RuntimeError):  # noqa: N818 - says what happened, as the video errors do
    """No decoding process can be had: the machine's trouble, and no fault of the video."""


class ChildProcess:
    """The child, and the thread that turns its answers into a queue: pipes alone have no time limit on Windows.

    Raises:
        DecoderUnavailable: the system starts no further process.
    """

    def __init__(self, memory_bytes: int) -> None:
        # A session of its own: an interrupt from the keyboard is the parent's to handle.
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-c", _BOOTSTRAP.format(path=sys.path, memory=memory_bytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            raise DecoderUnavailable(f"no decoding process can be started ({error.strerror})") from error
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self.pid = self._child.pid
        self._answers: queue.Queue[Message | None] = queue.Queue()
        self._listener = threading.Thread(target=_listen, args=(self._child.stdout, self._answers), daemon=True)
        self._listener.start()
        self._ready = False
        self.end = weakref.finalize(self, _end, self._child, self._listener, os.getpid())

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._child.poll() is None

    def send(self, message: Message) -> bool:
        """Tell the child, once it is ready. Whether it could be told.

        Raises:
            DecoderUnavailable: it does not start, which is not the video's fault.
        """
        assert self._child.stdin is not None
        if not self.end.alive:
            return False
        self._await_start()
        try:
            self._child.stdin.write(json.dumps(message).encode("ascii") + b"\n")
            self._child.stdin.flush()
        except (OSError, ValueError):
            return False
        return True

    def receive(self, wait_s: float) -> Message | None:
        """The next answer, None if the child has died; raises TimeoutError after `wait_s` seconds."""
        try:
            return self._answers.get(timeout=wait_s)
        except queue.Empty:
            raise TimeoutError from None

    def exit_code(self) -> int | None:
        """How a dead child ended: its exit code, or minus the signal that ended it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            # Its pipes close a moment before the system knows how it ended.
            return self._child.wait(_DYING_LIMIT_S)
        return None

    def _await_start(self) -> None:
        if self._ready:
            return
        with contextlib.suppress(queue.Empty):
            self._ready = self._answers.get(timeout=_START_LIMIT_S) is not None
        if not self._ready:
            self.end()
            raise DecoderUnavailable(
                "the decoding process does not start; `import vidcomp.video.worker.child` may show why"
            )


def _listen(stream: IO[bytes], answers: queue.Queue[Message | None]) -> None:
    for line in stream:
        try:
            answers.put(json.loads(line))
        except ValueError:
            break  # a dying child's half line
    answers.put(None)


def _end(child: subprocess.Popen[bytes], listener: threading.Thread, owner: int) -> int | None:
    if os.getpid() != owner:
        return None  # a fork's copy, which ends before its owner does
    child.kill()
    code = child.wait()
    if listener is not threading.current_thread():
        listener.join()
    for pipe in (child.stdin, child.stdout):
        with contextlib.suppress(OSError, AttributeError):
            pipe.close()  # type: ignore[union-attr]  # both are pipes
    return code
