"""Damaged and hostile containers: every one gets a record in time, and none a traceback."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests import clips
from tests.tiny_model import make_tiny_model
from vidcomp.video import ERRORS

pytestmark = pytest.mark.slow

MUTATIONS = int(os.environ.get("VIDCOMP_FUZZ_FILES", "500"))
LIMIT_S = 20.0
PROGRAM = "from vidcomp.cli import main; main()"
SIZE_FIELDS = [0, 1, 7, 8, 0x7FFFFFFF, 0xFFFFFFFF]


def originals(folder: Path) -> list[tuple[str, bytes]]:
    """The same clip in containers and codecs of every family that can be written here."""
    made = []
    for ending, codec in [
        ("mp4", "libx264"),
        ("mov", "mpeg4"),
        ("mkv", "libx264"),
        ("avi", "mpeg4"),
        ("ts", "mpeg2video"),
        ("flv", "flv"),
        ("webm", "libvpx-vp9"),
    ]:
        path = clips.make_clip(folder / f"o.{ending}", 24, size=(64, 48), codec=codec)
        made.append((ending, path.read_bytes()))
        path.unlink()
    fragmented = clips.make_clip(
        folder / "o.mp4", 24, size=(64, 48), container_options={"movflags": "frag_keyframe+empty_moov"}
    )
    made.append(("mp4", fragmented.read_bytes()))
    fragmented.unlink()
    return made


def mutate(data: bytes, chance: random.Random) -> bytes:
    kind = chance.choice(["flip", "flip", "cut", "zero", "swap", "repeat", "size", "insert", "boxes"])
    out = bytearray(data)
    low = chance.randrange(len(out))
    high = min(len(out), low + chance.randrange(1, max(2, len(out) // 4)))
    if kind == "flip":
        for _ in range(chance.choice([1, 4, 32, 256])):
            out[chance.randrange(len(out))] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del out[low : high if chance.random() < 0.5 else None]
    elif kind == "zero":
        out[low:high] = bytes(high - low)
    elif kind == "swap":
        other = chance.randrange(len(out))
        part = bytes(out[low:high])
        del out[low:high]
        out[other:other] = part
    elif kind == "repeat":
        out[high:high] = out[low:high] * chance.choice([1, 8])
    elif kind == "size":
        at = chance.randrange(max(1, len(out) - 4))
        out[at : at + 4] = chance.choice(SIZE_FIELDS).to_bytes(4, "big")
    elif kind == "insert":
        out[low:low] = chance.randbytes(chance.choice([1, 3, 1000]))
    else:
        return b"".join(chance.sample(found := boxes(data), len(found)))
    return bytes(out)


def boxes(data: bytes) -> list[bytes]:
    """The top-level boxes of an MP4; of anything else, four pieces."""
    found, at = [], 0
    if data[4:8] != b"ftyp":
        step = -(-len(data) // 4)
        return [data[i : i + step] for i in range(0, len(data), step)]
    while at < len(data):
        size = max(8, int.from_bytes(data[at : at + 4], "big"))
        found.append(data[at : at + size])
        at += size
    return found


def test_mutated_containers(tmp_path: Path) -> None:
    folder, output = tmp_path / "videos", tmp_path / "labels.jsonl"
    folder.mkdir()
    sources, chance = originals(folder), random.Random(0)
    for number in range(MUTATIONS):
        ending, data = sources[number % len(sources)]
        (folder / f"{number:04}.{ending}").write_bytes(mutate(data, chance))
    command = [sys.executable, "-X", "faulthandler", "-c", PROGRAM, "classify", str(folder), "--output", str(output)]
    command += ["--model", str(make_tiny_model(tmp_path)), "--decode-timeout", str(LIMIT_S)]
    run = subprocess.run(command, capture_output=True, check=False)
    assert b"Traceback" not in run.stderr
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert run.returncode == any(record["error"] for record in records), run.stderr[-2000:]
    assert len(records) == len({record["path"] for record in records}) == MUTATIONS
    kinds = Counter(record["error"]["kind"] if record["error"] else "ok" for record in records)
    slowest = max(record["timing"]["decode_s"] for record in records)
    if place := os.environ.get("VIDCOMP_FUZZ_LOG"):
        Path(place).write_text(json.dumps({"kinds": dict(kinds), "slowest_decode_s": slowest}, indent=2) + "\n")
    assert kinds.keys() <= {"ok", *ERRORS}
    assert slowest < LIMIT_S + 15
