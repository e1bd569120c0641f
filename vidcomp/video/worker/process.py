"""The parent's hold on a decoding process: its life, its messages, and how long and how much memory it may take."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from vidcomp.video.frames import VideoInfo
from vidcomp.video.worker.protocol import Message

OPEN_TIMEOUT_S = 30.0
"""Seconds that opening a video may take."""

MEMORY_LIMIT_BYTES = 8 << 30
"""Bytes that a decoding process may take for a video: three times what 16 reference frames of 64 Mpixel video need."""

_SLOWEST_PIXELS_PER_S = 4_000_000
_SLOWEST_BYTES_PER_S = 2_000_000


def default_timeout(info: VideoInfo) -> float:
    """Seconds that decoding a video may take: 30, and what it needs on a machine some 30 times slower than a laptop.

    That is a second for every 4 million pixels promised (320×240: 52 frames) and every 2 MB of file. Promises are not
    believed beyond what the file's bytes could hold: one frame for every 16 bytes.
    """
    frames = min(info.expected_frames or info.file_bytes // 1000, info.file_bytes // 16 + 1)
    pixels = frames * info.width * info.height
    return OPEN_TIMEOUT_S + pixels / _SLOWEST_PIXELS_PER_S + info.file_bytes / _SLOWEST_BYTES_PER_S


def probe_timeout(path: str) -> float:
    """Seconds that counting a file's frames may take: it is read once, and a little of it decoded."""
    try:
        size = os.stat(path).st_size  # noqa: PTH116 - a path may hold what pathlib refuses
    except (OSError, ValueError):
        size = 0
    return OPEN_TIMEOUT_S + size / _SLOWEST_BYTES_PER_S


def watchdog(timeout_s: float) -> float:
    """Seconds after which the child ends itself, should its parent not have lived to do it at `timeout_s`."""
    return timeout_s + 15.0


def cap_memory(more_bytes: int) -> None:
    """Let this process have so much more memory of its own than now; beyond it, the system refuses, and kills nothing.

    Shared memory and the address space that threads merely reserve do not count. Only Linux enforces it.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        own = _field(Path("/proc/self/status"), "VmData:") << 10
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = own + more_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def memory_at_hand(root: Path = Path("/")) -> int | None:
    """Bytes that this process can take before it is refused more, or killed; None where the system does not tell.

    The least of what the machine, control groups (those of containers) and the limit of the address space leave. Only
    Linux tells; `root` is where its `proc` and `sys` are.
    """
    return min(_left(root), default=None)


def _left(root: Path) -> Iterator[int]:
    if available := _field(root / "proc/meminfo", "MemAvailable:"):
        yield available << 10
    with contextlib.suppress(ImportError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            yield max(0, limit - (_field(root / "proc/self/status", "VmSize:") << 10))
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            names, base = ("memory.max", "memory.current", ""), root / "sys/fs/cgroup"
        elif "memory" in controllers.split(","):
            names, base = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"), root / "sys/fs/cgroup/memory"
        else:
            continue
        # A group's limit holds for those within it. In a container, the path may be one that only the host knows.
        inner = Path(path.lstrip("/"))
        for group in (inner, *inner.parents):
            limit_text, used = _text(base / group / names[0]).strip(), _text(base / group / names[1]).strip()
            if limit_text.isdecimal() and used.isdecimal():
                stat = base / group / "memory.stat"
                cached = sum(_field(stat, f"{names[2]}{kind}_file") for kind in ("active", "inactive"))
                yield max(0, int(limit_text) - int(used) + cached)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _field(path: Path, name: str) -> int:
    """The number behind a name in a file of one name and number per line; 0 where there is none."""
    return next((int(line.split()[1]) for line in _text(path).splitlines() if line.split()[:1] == [name]), 0)


_START_LIMIT_S = 60.0
_DYING_LIMIT_S = 2.0
BOOTSTRAP = "import sys; sys.path[:] = {path!r}; from vidcomp.video.worker.child import main; main({memory})"


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
                [sys.executable, "-c", BOOTSTRAP.format(path=sys.path, memory=memory_bytes)],
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
