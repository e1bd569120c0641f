from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import clips
from vidcomp.video import (
    DecodeOptions,
    DecodeWorker,
    IsolatedReader,
    VideoError,
    VideoInfo,
    decode,
    default_timeout,
    probe,
)
from vidcomp.video.sampling import whole
from vidcomp.video.worker import process

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc and /dev/shm")

SMALL_CHUNKS = DecodeOptions(chunk_frames=2)


@pytest.fixture(autouse=True, scope="module")
def quick_decoders() -> None:
    """None: these tests are of true processes."""


@pytest.fixture
def worker() -> Iterator[DecodeWorker]:
    with DecodeWorker() as worker:
        yield worker


@pytest.fixture(scope="module")
def steady() -> Iterator[DecodeWorker]:
    """A worker for many tests, in which nothing befalls it."""
    with DecodeWorker() as worker:
        yield worker


def count(worker: DecodeWorker, path: Path) -> int:
    with worker.open(str(path)) as reader:
        return sum(len(chunk) for chunk in reader.chunks())


def test_one_child_serves_many_videos(clip: Path, worker: DecodeWorker, tmp_path: Path) -> None:
    assert worker.pid is None
    assert count(worker, clip) == 60
    pid = worker.pid
    with pytest.raises(VideoError, match=r"gone\.mp4: there is no such file"):
        worker.open(str(tmp_path / "gone.mp4"))
    larger = clips.make_clip(tmp_path / "larger.mp4", 9, size=(640, 480))
    assert count(worker, larger) == 9
    assert count(worker, clip) == 60
    assert worker.pid == pid


@linux
def test_no_video_takes_more_memory_than_it_may(tmp_path: Path) -> None:
    huge = clips.make_clip(tmp_path / "8k.mp4", 1, size=(7680, 4320), options={"preset": "ultrafast"})
    with DecodeWorker(memory_bytes=32 << 20) as capped, pytest.raises(VideoError):
        capped.open(str(huge))
    with DecodeWorker() as worker, worker.open(str(huge), DecodeOptions(short_side=64)) as reader:
        assert sum(len(chunk) for chunk in reader.chunks()) == 1


def test_decode_and_probe_on_their_own(clip: Path) -> None:
    with decode(str(clip), DecodeOptions(short_side=32)) as reader:
        assert [chunk.pixels.shape for chunk in reader.chunks()] == [(32, 32, 42, 3), (28, 32, 42, 3)]
        assert reader.decode_s > 0
    info = probe(str(clip))
    assert (info.frame_count, info.counted, info.fps) == (60, True, 25.0)


def test_probe_counts_what_the_container_does_not_tell(steady: DecodeWorker, tmp_path: Path) -> None:
    path = str(clips.make_clip(tmp_path / "a.mkv", 13))
    assert steady.probe(path, count=False).frame_count is None
    assert steady.probe(path).frame_count == 13
    with pytest.raises(VideoError, match="gone"):
        steady.probe(str(tmp_path / "gone.mp4"))


@pytest.mark.parametrize(("extension", "fps"), [("mp4", 24), ("mkv", 24), ("ts", 25), ("avi", 12), ("h264", 25)])
@pytest.mark.parametrize("per_second", [5.0, 30.0])
def test_as_many_samples_are_counted_as_are_read(
    steady: DecodeWorker, tmp_path: Path, extension: str, fps: int, per_second: float
) -> None:
    path = str(clips.make_clip(tmp_path / f"a.{extension}", 37, fps=fps))
    with steady.open(path, DecodeOptions(selection=whole(fps=per_second))) as reader:
        read = sum(len(chunk) for chunk in reader.chunks())
    assert steady.count(path, per_second) == read


@pytest.mark.parametrize("extension", ["mp4", "mkv"])
def test_a_video_has_the_samples_of_the_time_it_lasts(steady: DecodeWorker, tmp_path: Path, extension: str) -> None:
    """Whatever rate its header tells: here, in MKV, 25 frames a second, and one in two seconds is true."""
    path = str(clips.make_clip(tmp_path / f"a.{extension}", 10, times=range(0, 500, 50)))
    assert steady.count(path) == 10
    assert 18 * 25 <= steady.count(path, 25.0) <= 20 * 25


def test_chunks_are_copies_unless_asked_otherwise(clip: Path, steady: DecodeWorker) -> None:
    with steady.open(str(clip), SMALL_CHUNKS) as reader:
        chunks = list(reader.chunks())
    assert [number for chunk in chunks for number in clips.numbers(chunk.pixels)] == list(range(60))
    with steady.open(str(clip), SMALL_CHUNKS, copy=False) as reader:
        assert [number for chunk in reader.chunks() for number in clips.numbers(chunk.pixels)] == list(range(60))


def test_uncopied_pixels_outlive_their_worker(clip: Path) -> None:
    with DecodeWorker() as worker, worker.open(str(clip), copy=False) as reader:
        chunk = next(reader.chunks())
    assert clips.numbers(chunk.pixels)[:2] == [0, 1]


def test_leaving_early_keeps_the_child(clip: Path, steady: DecodeWorker) -> None:
    for take in (0, 1, 3):
        with steady.open(str(clip), SMALL_CHUNKS) as reader:
            chunks = reader.chunks()
            for _ in range(take):
                next(chunks)
    pid = steady.pid
    assert count(steady, clip) == 60
    assert steady.pid == pid
    with pytest.raises(RuntimeError, match="closed"):
        next(chunks)


def test_one_video_at_a_time(clip: Path, steady: DecodeWorker) -> None:
    with steady.open(str(clip)):
        with pytest.raises(RuntimeError, match="still open"):
            steady.open(str(clip))
        with pytest.raises(RuntimeError, match="close"):
            steady.probe(str(clip))


def test_workers_side_by_side(clip: Path) -> None:
    with DecodeWorker() as one, DecodeWorker() as other:
        one.start()
        other.start()
        with one.open(str(clip), SMALL_CHUNKS) as a, other.open(str(clip), SMALL_CHUNKS) as b:
            for ours, theirs in zip(a.chunks(), b.chunks(), strict=True):
                assert (ours.pixels == theirs.pixels).all()


@posix
def test_a_crash_is_one_videos_error(clip: Path, worker: DecodeWorker) -> None:
    for sign in (signal.SIGSEGV, signal.SIGKILL):
        with worker.open(str(clip), SMALL_CHUNKS) as reader, pytest.raises(VideoError) as caught:
            read_while_killed(reader, worker, sign)
        assert caught.value.kind == "crashed"
        assert f"signal {sign.value}" in str(caught.value)
        assert count(worker, clip) == 60


@posix
def test_a_child_killed_between_videos_is_replaced(clip: Path, worker: DecodeWorker) -> None:
    assert count(worker, clip) == 60
    pid = worker.pid
    # At once: the worker may not have noticed yet that its child is gone, and must not blame the next video.
    kill(worker, signal.SIGKILL)
    assert count(worker, clip) == 60
    assert worker.pid != pid


@posix
def test_a_hang_ends_at_the_time_limit(clip: Path, worker: DecodeWorker) -> None:
    with worker.open(str(clip), SMALL_CHUNKS, timeout_s=4) as reader:
        pid = worker.pid
        with pytest.raises(VideoError, match="stopped after 4 s") as caught:
            read_while_killed(reader, worker, signal.SIGSTOP)
    assert caught.value.kind == "timeout"
    assert not alive(pid)
    assert count(worker, clip) == 60


@posix
def test_a_hang_while_opening_or_probing(clip: Path, worker: DecodeWorker) -> None:
    for use in (worker.open, worker.probe):
        assert count(worker, clip) == 60
        kill(worker, signal.SIGSTOP)
        with pytest.raises(VideoError) as caught:
            use(str(clip), timeout_s=0.2)
        assert caught.value.kind == "timeout"


def test_the_callers_own_time_does_not_count(clip: Path, steady: DecodeWorker) -> None:
    with steady.open(str(clip), SMALL_CHUNKS, timeout_s=4) as reader:
        chunks = reader.chunks()
        next(chunks)
        time.sleep(4.1)
        assert sum(len(chunk) for chunk in chunks) == 58


def test_the_default_limit_follows_the_file() -> None:
    def info(**claims: object) -> VideoInfo:
        facts = {"width": 320, "height": 240, "rotation": 0, "fps": 30.0, "duration_s": 10.0, "frame_count": 300}
        facts |= {"path": "a", "codec": "h264", "container": "mp4", "file_bytes": 1_000_000}
        return VideoInfo(**{**facts, **claims})  # type: ignore[arg-type]

    assert default_timeout(info()) == pytest.approx(30 + 300 * 320 * 240 / 4e6 + 0.5)
    assert default_timeout(info(frame_count=None)) == default_timeout(info())
    assert default_timeout(info(frame_count=30_000)) > 500
    # A file of a thousand bytes does not hold a billion frames.
    assert default_timeout(info(frame_count=10**9, file_bytes=1000)) < 40


def no_room(*folders: Path | str) -> Callable[[Path], int]:
    return lambda folder: 0 if str(folder) in map(str, folders) else 1 << 40


@linux
def test_where_shared_memory_is_short_frames_pass_through_a_file(
    clip: Path, worker: DecodeWorker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(process, "free_bytes", no_room("/dev/shm"))
    for told in (True, False):
        with worker.open(str(clip)) as reader:
            chunks = list(reader.chunks())
        assert [number for chunk in chunks for number in clips.numbers(chunk.pixels)] == list(range(60))
        assert block_of(worker).parent == tmp_path
        # Once for each worker is often enough.
        assert [note for note in reader.report.notes if "/dev/shm is too small" in note] == list(reader.report.notes)
        assert bool(reader.report.notes) is told
    assert not list(tmp_path.iterdir())


@linux
def test_workers_share_what_memory_there_is(
    clip: Path, worker: DecodeWorker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = 2 * (16 + 3 * 128 * 96)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(process, "free_bytes", lambda folder: 10 * one)
    with worker.open(str(clip)) as reader:
        chunks = list(reader.chunks())
    # Half of what is left is room for five frames in each slot: 32 are halved until they fit.
    assert {len(chunk) for chunk in chunks} == {4}
    assert [number for chunk in chunks for number in clips.numbers(chunk.pixels)] == list(range(60))
    assert "4 at a time" in reader.report.notes[0]


@linux
def test_memory_that_only_seems_to_be_there_is_not_used(
    clip: Path, worker: DecodeWorker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reserve, refused = process.reserve, list[Path]()

    def others_were_faster(handle: int, size: int) -> None:
        file = Path(f"/proc/self/fd/{handle}").readlink()
        if file.is_relative_to("/dev/shm"):
            refused.append(file)
            raise OSError(errno.ENOSPC, "full")
        reserve(handle, size)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(process, "reserve", others_were_faster)
    assert count(worker, clip) == 60
    assert block_of(worker).parent == tmp_path
    assert refused
    assert not any(file.exists() for file in refused)


def test_no_memory_to_share_left(clip: Path, worker: DecodeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "free_bytes", lambda folder: 0)
    with worker.open(str(clip)) as reader, pytest.raises(VideoError, match="shared memory"):
        list(reader.chunks())
    monkeypatch.undo()
    assert count(worker, clip) == 60


def test_a_child_that_cannot_start_is_not_the_videos_fault(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "BOOTSTRAP", "raise SystemExit({path!r})")
    with DecodeWorker() as worker, pytest.raises(RuntimeError, match="does not start"):
        worker.open(str(clip))


@linux
def test_nothing_is_left_after_three_hundred_videos(clip: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.read_bytes()[:900])
    short = clips.make_clip(tmp_path / "short.mp4", 8, size=(64, 48))
    options = DecodeOptions(short_side=16, chunk_frames=4)
    blocks: set[Path] = set()
    with DecodeWorker() as worker:
        for number in range(300):
            if number == 50:
                memory, files, pid = resident(worker.pid), len(entries("/proc/self/fd")), worker.pid
                child_files = len(entries(f"/proc/{pid}/fd"))
            if number % 10 == 3:
                with pytest.raises(VideoError, match="index is missing"):
                    worker.open(str(broken), options)
                continue
            with worker.open(str(short), options) as reader:
                for _ in reader.chunks():
                    blocks.add(block_of(worker))
                    if number % 10 == 5:
                        break
        assert worker.pid == pid
        assert resident(pid) < memory + 8 * 2**20
        assert len(entries("/proc/self/fd")) <= files
        assert len(entries(f"/proc/{pid}/fd")) <= child_files
    assert blocks
    assert not any(block.exists() for block in blocks)
    assert not alive(pid)


@linux
def test_killed_workers_leave_nothing(clip: Path) -> None:
    blocks: set[Path] = set()
    files = len(entries("/proc/self/fd"))
    with DecodeWorker() as worker:
        for _ in range(3):
            with contextlib.suppress(VideoError), worker.open(str(clip), SMALL_CHUNKS) as reader:
                chunks = reader.chunks()
                next(chunks)
                blocks.add(block_of(worker))
                kill(worker, signal.SIGKILL)
                list(chunks)
    gc.collect()
    assert blocks
    assert not any(block.exists() for block in blocks)
    assert len(entries("/proc/self/fd")) <= files


PROGRAM = """
import signal, sys, time
# Where the tests run in the background, interrupts may be ignored; a program at a terminal heeds them.
signal.signal(signal.SIGINT, signal.default_int_handler)
from vidcomp.video import DecodeOptions, DecodeWorker
worker = DecodeWorker()
reader = worker.open(sys.argv[1], DecodeOptions(chunk_frames=2))
chunks = reader.chunks()
next(chunks)
print(worker.pid, worker._ring.file, flush=True)
{then}
"""


def program(then: str, clip: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", PROGRAM.format(then=then), str(clip)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


@linux
def test_the_end_of_the_program_is_clean(clip: Path) -> None:
    with program("", clip) as ended:
        pid, block = told(ended)
        _, err = ended.communicate(timeout=60)
    assert (ended.returncode, err) == (0, "")
    wait_until(lambda: not alive(pid))
    assert not block.exists()


@linux
def test_an_interrupt_ends_the_child_too(clip: Path) -> None:
    with program("time.sleep(30)", clip) as ended:
        pid, block = told(ended)
        os.killpg(ended.pid, signal.SIGINT)
        _, err = ended.communicate(timeout=60)
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert "resource_tracker" not in err
    wait_until(lambda: not alive(pid))
    assert not block.exists()


@linux
def test_a_killed_program_leaves_no_child_and_no_memory(clip: Path) -> None:
    with program("time.sleep(30)", clip) as ended:
        pid, block = told(ended)
        ended.kill()
    wait_until(lambda: not alive(pid))
    wait_until(lambda: not block.exists())


def told(running: subprocess.Popen[str]) -> tuple[int, Path]:
    """The child's process id and the shared memory of the program above."""
    assert running.stdout is not None
    pid, name = running.stdout.readline().split()
    return int(pid), Path(name)


def block_of(worker: DecodeWorker) -> Path:
    assert worker._ring is not None
    return Path(worker._ring.file)


def entries(folder: str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def read_while_killed(reader: IsolatedReader, worker: DecodeWorker, sign: signal.Signals) -> None:
    for _ in reader.chunks():
        kill(worker, sign)


def kill(worker: DecodeWorker, sign: signal.Signals) -> None:
    if worker.pid is not None:
        os.kill(worker.pid, sign)


def alive(pid: int | None) -> bool:
    """Whether the process runs: a dead one that nobody has waited for does not."""
    try:
        return pid is not None and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def resident(pid: int | None) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def wait_until(condition: object) -> None:
    deadline = time.monotonic() + 30
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)
