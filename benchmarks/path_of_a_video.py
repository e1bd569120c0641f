"""Show the path of one video through vidcomp: every file and function that a classification passes, in order.

    python -m benchmarks.path_of_a_video clip.mp4 [options of `vidcomp classify`]

The command line runs in this process with ``sys.setprofile``, in all its threads. Functions are listed at their first
call, grouped by file; what the decoding process does on its own is not among them.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import vidcomp

PACKAGE = Path(vidcomp.__file__).parent


def is_import(frame: FrameType) -> bool:
    """Whether a module or a class is being made, or a function runs for that: no step of a video's."""
    at: FrameType | None = frame
    while at is not None:
        if at.f_code.co_name == "<module>" and Path(at.f_code.co_filename).is_relative_to(PACKAGE):
            return True
        at = at.f_back
    return False


def trace(run: Callable[[], object]) -> dict[str, list[str]]:
    """The functions of vidcomp that are called while ``run`` runs, by file, both in the order of their first call."""
    passed: dict[str, list[str]] = {}
    seen: set[object] = set()
    ours = f"{PACKAGE}{os.sep}"

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or code in seen or not code.co_filename.startswith(ours) or is_import(frame):
            return
        seen.add(code)
        file = Path(code.co_filename).relative_to(PACKAGE.parent).as_posix()
        passed.setdefault(file, []).append(code.co_qualname)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return passed


def path_of(video: str, options: list[str]) -> dict[str, list[str]]:
    """What a classification of ``video`` by the command line passes, from its options to the record on disk."""
    from vidcomp.cli import app

    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder) / "labels.jsonl")
        return trace(lambda: app(["classify", video, "--output", output, *options], standalone_mode=False))


def main() -> None:
    """Print the path, and how many files and functions it has."""
    if len(sys.argv) < 2:
        raise SystemExit("usage: python -m benchmarks.path_of_a_video clip.mp4 [options of vidcomp classify]")
    passed = path_of(sys.argv[1], sys.argv[2:])
    for file, functions in passed.items():
        print(file)
        for function in functions:
            print(f"    {function}")
    print(f"{sum(map(len, passed.values()))} functions in {len(passed)} files")


if __name__ == "__main__":
    main()
