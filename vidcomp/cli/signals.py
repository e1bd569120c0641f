"""Signals that ask the program to end: they do, in good order."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(KeyboardInterrupt):
    """A signal has asked the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What shells expect of a program that a signal ended."""
        return 128 + self.number


class Stop:
    """Remembers a signal whose exception got lost, as it does in a destructor."""

    def __init__(self) -> None:
        self.number: int | None = None

    def check(self) -> None:
        """Raise Stopped if a signal has come."""
        if self.number is not None:
            raise Stopped(self.number)


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Within this, an interrupt, a request to terminate and a lost terminal raise Stopped in the main thread."""
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        stop.number = number
        raise Stopped(number)

    with _handled_by(handle):
        yield stop


@contextmanager
def stop_requests(said: bytes) -> Iterator[Stop]:
    """Within this, the first such signal is remembered and answered by the line ``said``; the second raises Stopped."""
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.number is not None:
            raise Stopped(number)
        stop.number = number
        # Not print: the signal may have come in the middle of one.
        os.write(2, said)

    with _handled_by(handle):
        yield stop


@contextmanager
def _handled_by(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    # What the caller has chosen to ignore, as nohup does, stays ignored.
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
