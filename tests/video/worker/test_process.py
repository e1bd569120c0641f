from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import clips
from vidcomp.memory import memory_at_hand
from vidcomp.video import DecodeOptions, VideoError, open_reader
from vidcomp.video.container import MAX_ASPECT

GIB = 2**30


def put(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine with 8 GiB left, of which the control group `/a/b` sees what its files say."""
    put(tmp_path, proc__meminfo=f"MemTotal: 16000000 kB\nMemAvailable: {8 * GIB >> 10} kB\n")
    return tmp_path


def test_memory_of_a_machine_without_limits(machine: Path) -> None:
    assert memory_at_hand(machine) == 8 * GIB
    assert memory_at_hand(machine / "nothing") is None


def test_memory_of_a_group_is_that_of_the_narrowest_around_it(machine: Path) -> None:
    group = machine / "sys/fs/cgroup"
    put(machine, proc__self__cgroup="0::/a/b\n")
    for inner, limit, used in (("a/b", "max", 0), ("a", str(3 * GIB), 2 * GIB), (".", str(6 * GIB), 2 * GIB)):
        put(group / inner, memory_DOT_max=f"{limit}\n", memory_DOT_current=f"{used}\n")
    assert memory_at_hand(machine) == GIB
    # What the cache of files takes can be had.
    put(group / "a", memory_DOT_stat=f"anon 7\ninactive_file {GIB}\nactive_file 5\n")
    assert memory_at_hand(machine) == 2 * GIB + 5
    # Within a container the path may be the host's; the container's own group is at the top.
    put(machine, proc__self__cgroup="0::/docker/123\n")
    assert memory_at_hand(machine) == 4 * GIB
    put(group, memory_DOT_current=f"{7 * GIB}\n")
    assert memory_at_hand(machine) == 0


def test_memory_of_a_group_of_the_first_kind(machine: Path) -> None:
    put(machine, proc__self__cgroup="9:name=systemd:/\n4:cpu,memory:/a\n")
    group = machine / "sys/fs/cgroup/memory/a"
    put(group, memory_DOT_limit_in_bytes=f"{2 * GIB}", memory_DOT_usage_in_bytes=f"{GIB}")
    put(group, memory_DOT_stat="inactive_file 1\ntotal_inactive_file 100\n")
    assert memory_at_hand(machine) == GIB + 100


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_memory_within_a_limit_of_the_address_space(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda kind: (5 * GIB, 5 * GIB))
    put(machine, proc__self__status=f"VmPeak: 9 kB\nVmSize: {2 * GIB >> 10} kB\n")
    assert memory_at_hand(machine) == 3 * GIB


@pytest.mark.parametrize("size", [(1026, 16), (16, 1026), (2048, 2)])
def test_pictures_that_scaling_would_blow_up_are_refused(size: tuple[int, int], tmp_path: Path) -> None:
    path = str(clips.make_clip(tmp_path / "narrow.mkv", 2, size=size, codec="ffv1"))
    with pytest.raises(VideoError, match=f"{size[0]}×{size[1]} pixels would be scaled") as caught:
        open_reader(path, DecodeOptions(short_side=160))
    assert caught.value.kind == "too_large"
    # As they are, there is nothing wrong with them.
    with open_reader(path) as reader:
        assert reader.size == size


def test_pictures_at_the_limit_are_read(tmp_path: Path) -> None:
    path = str(clips.make_clip(tmp_path / "narrow.mkv", 2, size=(16 * MAX_ASPECT, 16), codec="ffv1"))
    with open_reader(path, DecodeOptions(short_side=32)) as reader:
        assert [chunk.pixels.shape for chunk in reader.chunks()] == [(2, 32, 32 * MAX_ASPECT, 3)]
