"""A night in a few minutes: thousands of clips, some broken, the decoder and the program killed on the way.

`VIDCOMP_SOAK_VIDEOS` changes how many, `VIDCOMP_SOAK_LOG` names a file for what was measured.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests import clips
from tests.tiny_model import make_tiny_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

VIDEOS = int(os.environ.get("VIDCOMP_SOAK_VIDEOS", "2000"))
WORKER_KILLS, PROGRAM_KILLS = 20, 5
PROGRAM = "from vidcomp.cli import main; main()"


def make_videos(folder: Path) -> set[str]:
    """Fill a folder; returns the relative paths of the broken ones, a tenth of all."""
    good = [
        clips.make_clip(folder / f"good{i}.{ending}", 8 + 8 * i, size=size).read_bytes()
        for i, (ending, size) in enumerate([("mp4", (64, 48)), ("mkv", (48, 64)), ("avi", (96, 64))])
    ]
    sound = clips.make_sound(folder / "sound.mp4").read_bytes()
    broken = [
        b"",
        b"this is a text",
        good[0][: len(good[0]) // 2],
        good[1][:200],
        sound,
        bytes(5000),
        random.Random(1).randbytes(5000),
        good[0][:40] + bytes(len(good[0]) - 40),
    ]
    for path in list(folder.iterdir()):
        path.unlink()
    names = set()
    for number in range(VIDEOS):
        ending = ("mp4", "mkv", "avi")[number % 3]
        path = folder / f"{number % 7}" / f"{number:05}.{ending}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(broken[number // 10 % len(broken)] if number % 10 == 0 else good[number % 3])
        if number % 10 == 0:
            names.add(path.relative_to(folder).as_posix())
    return names


def decoder_of(pid: int) -> int | None:
    """The decoding process of a program, which has another child: Python's own, that looks after shared memory."""
    for entry in Path("/proc").iterdir():
        try:
            if b"vidcomp.video.worker.child" not in (entry / "cmdline").read_bytes():
                continue
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                return int(entry.name)
        except (OSError, IndexError):
            continue
    return None


def resident(pid: int) -> int:
    """Bytes of memory that a process holds to itself; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


def test_a_night(tmp_path: Path) -> None:
    folder, output, errors = tmp_path / "videos", tmp_path / "labels.jsonl", tmp_path / "errors.txt"
    folder.mkdir()
    broken = make_videos(folder)
    command = [sys.executable, "-c", PROGRAM, "classify", str(folder), "--output", str(output)]
    command += ["--model", str(make_tiny_model(tmp_path))]
    chance = random.Random(0)
    # The program is killed within the first half, so that the last of them runs long enough to show a leak.
    ends = sorted(chance.sample(range(VIDEOS // 20, VIDEOS // 2), PROGRAM_KILLS))
    kills = sorted(chance.sample(range(1, VIDEOS - 1), WORKER_KILLS))
    memory: dict[int, int] = {}
    killed_workers = 0
    begun = time.monotonic()
    while True:
        with errors.open("ab") as log, subprocess.Popen(command, stderr=log) as program:
            before = lines(output)
            while program.poll() is None:
                done = lines(output)
                memory[done - before] = resident(program.pid) or memory.get(done - before, 0)
                if kills and done >= kills[0] and done > before and (child := decoder_of(program.pid)):
                    kills.pop(0)
                    os.kill(child, signal.SIGKILL)
                    killed_workers += 1
                if ends and done >= ends[0] and done > before:
                    ends.pop(0)
                    program.send_signal(signal.SIGKILL)
                time.sleep(0.02)
        if program.returncode != -signal.SIGKILL:
            break
        memory.clear()
    seconds = time.monotonic() - begun

    assert program.returncode == 1
    assert (ends, kills) == ([], [])
    records = [json.loads(line) for line in output.read_text().splitlines()]
    times = Counter(record["path"] for record in records)
    assert set(times.values()) == {1}
    assert len(times) == VIDEOS
    failed = {record["path"]: record["error"]["kind"] for record in records if record["error"]}
    kinds = Counter(failed.values())
    assert kinds["internal"] == 0
    # A video is given up only if its decoder dies twice.
    assert {path for path, kind in failed.items() if kind != "crashed"} <= broken
    assert kinds["crashed"] <= 2
    assert "Traceback" not in errors.read_text(errors="replace")
    early = next(memory[count] for count in sorted(memory) if count >= min(100, VIDEOS // 4))
    late = memory[max(memory)]
    if place := os.environ.get("VIDCOMP_SOAK_LOG"):
        measured = {
            "videos": VIDEOS,
            "seconds": round(seconds),
            "workers_killed": killed_workers,
            "programs_killed": PROGRAM_KILLS,
            "error_kinds": dict(kinds),
            "last_program_videos": max(memory),
            "memory_early_mib": round(early / 2**20, 1),
            "memory_late_mib": round(late / 2**20, 1),
        }
        Path(place).write_text(json.dumps(measured, indent=2) + "\n")
    assert late <= 1.1 * early


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
