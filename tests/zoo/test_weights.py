"""Downloads against a real HTTP server on this machine: fresh, cached, resumed, refused, damaged, offline."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.saboteur import forked
from tests.tiny_model import make_tiny_model
from vidcomp.zoo import WeightsError, downloads, weights
from vidcomp.zoo.build import load_model
from vidcomp.zoo.weights import fingerprint

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT at /weights; can ignore ranges, or hang up after some bytes."""

    honor_ranges = True
    # What a server that resumes from elsewhere gets wrong.
    range_error = 0
    hang_up_after: int | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requested_ranges: list[str | None] = []
        # Half of the content is held back until the gate opens; `begun` is set when the other half has been sent.
        self.gate: threading.Event | None = None
        self.begun = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/weights"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requested_ranges.append(wanted)
        if self.path != "/weights":
            self.send_error(404)
            return
        start = 0
        if wanted and self.server.honor_ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(CONTENT):
                self.send_error(416)
                return
            start += self.server.range_error
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.send_response(200)
        body = CONTENT[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if (gate := self.server.gate) is not None:
            self.wfile.write(body[: len(body) // 2])
            self.server.begun.set()
            gate.wait()
            body = body[len(body) // 2 :]
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body if self.server.hang_up_after is None else body[: self.server.hang_up_after])

    def finish(self) -> None:
        """A client that has gone is no concern of the server's."""
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDCOMP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_downloads_once_and_then_uses_the_cache(server: Server, cache: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = downloads.fetch(server.url, SHA256, "w.bin", lambda done, total: seen.append((done, total)))
    assert path == cache / "w.bin"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    downloads.fetch(server.url, SHA256, "w.bin")
    assert len(server.requested_ranges) == 1


def test_a_broken_transfer_keeps_what_arrived_and_the_next_attempt_goes_on_from_there(
    server: Server, cache: Path
) -> None:
    server.hang_up_after = 300_000
    with pytest.raises(WeightsError, match="what has arrived is kept"):
        downloads.fetch(server.url, SHA256, "w.bin")
    assert (cache / "w.bin.part").stat().st_size == 300_000
    server.hang_up_after = None
    assert downloads.fetch(server.url, SHA256, "w.bin").read_bytes() == CONTENT
    assert server.requested_ranges == [None, "bytes=300000-"]
    assert not (cache / "w.bin.part").exists()


def test_a_server_without_ranges_sends_everything_again(server: Server, cache: Path) -> None:
    cache.mkdir()
    (cache / "w.bin.part").write_bytes(b"x" * 1000)
    server.honor_ranges = False
    assert downloads.fetch(server.url, SHA256, "w.bin").read_bytes() == CONTENT


def test_a_server_that_goes_on_from_elsewhere_makes_it_begin_anew(server: Server, cache: Path) -> None:
    server.hang_up_after = 1000
    with pytest.raises(WeightsError):
        downloads.fetch(server.url, SHA256, "w")
    server.hang_up_after, server.range_error = None, -10
    with pytest.raises(WeightsError, match="sent another part of the file than was asked for"):
        downloads.fetch(server.url, SHA256, "w")
    assert downloads.fetch(server.url, SHA256, "w").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "url", ["no address", "http://[::1/weights", "ftp://127.0.0.1/weights", "http://127.0.0.1:1/w"]
)
def test_an_address_that_is_none_is_one_line(url: str, cache: Path) -> None:
    with pytest.raises(WeightsError, match=r"could not be downloaded \((?!\[Errno)") as error:
        downloads.fetch(url, "", "w")
    assert "\n" not in str(error.value)


def test_a_part_that_is_already_whole_is_accepted(server: Server, cache: Path) -> None:
    cache.mkdir()
    (cache / "w.bin.part").write_bytes(CONTENT)
    assert downloads.fetch(server.url, SHA256, "w.bin").read_bytes() == CONTENT


def test_other_content_is_thrown_away(server: Server, cache: Path) -> None:
    wrong = "0" * 64
    with pytest.raises(WeightsError, match=f"{SHA256}, not {wrong}"):
        downloads.fetch(server.url, wrong, "w.bin")
    assert [path.name for path in cache.iterdir() if not path.name.startswith(".")] == []


def test_a_damaged_cached_file_is_fetched_again(server: Server, cache: Path) -> None:
    cache.mkdir()
    (cache / "w.bin").write_bytes(b"damaged")
    assert downloads.fetch(server.url, SHA256, "w.bin").read_bytes() == CONTENT


def test_a_refusal_names_the_address_and_where_to_put_the_file(server: Server, cache: Path) -> None:
    with pytest.raises(WeightsError, match=r"/nothing could not be downloaded \(Not Found\)") as caught:
        downloads.fetch(server.url.replace("/weights", "/nothing"), SHA256, "w.bin")
    assert str(cache / "w.bin") in str(caught.value)


def test_offline_is_one_clear_line(server: Server) -> None:
    url = server.url
    server.server_close()
    with pytest.raises(WeightsError, match="not on this machine") as caught:
        downloads.fetch(url, SHA256, "w.bin")
    assert "\n" not in str(caught.value)


def _fetch(url: str, cache: Path, sizes: Connection) -> None:
    os.environ["VIDCOMP_CACHE"] = str(cache)
    sizes.send(downloads.fetch(url, SHA256, "w.bin", lambda done, total: None).stat().st_size)


def fetching(server: Server, cache: Path) -> tuple[BaseProcess, Connection]:
    """A process that fetches, and where it tells the size of what it has then."""
    receiver, sender = forked.Pipe(duplex=False)
    process = forked.Process(target=_fetch, args=(server.url, cache, sender))
    process.start()
    sender.close()
    return process, receiver


def test_of_several_processes_one_downloads_and_the_others_wait(server: Server, cache: Path) -> None:
    server.gate = threading.Event()
    running = [fetching(server, cache) for _ in range(4)]
    server.begun.wait()
    server.gate.set()
    assert [sizes.recv() for _, sizes in running] == [len(CONTENT)] * 4
    for process, sizes in running:
        process.join()
        sizes.close()
    assert (cache / "w.bin").read_bytes() == CONTENT
    assert server.requested_ranges == [None]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_download_that_was_killed_is_gone_on_with(server: Server, cache: Path) -> None:
    server.gate = threading.Event()
    killed, sizes = fetching(server, cache)
    server.begun.wait()
    killed.kill()
    killed.join()
    sizes.close()
    server.gate.set()
    server.gate = None
    assert downloads.fetch(server.url, SHA256, "w.bin").read_bytes() == CONTENT


def test_the_cache_is_under_the_platforms_folder_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIDCOMP_CACHE")
    assert downloads.cache_folder().name == "vidcomp"


OLD = 1_000_000_000_000_000_000


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose checksums were computed."""
    names: list[str] = []
    real = downloads.sha256_of

    def noting(path: Path) -> str:
        names.append(path.name)
        return real(path)

    for module in (downloads, weights):
        monkeypatch.setattr(module, "sha256_of", noting)
    return names


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    os.utime(path, ns=(OLD, OLD))
    return path


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, computed: list[str]) -> None:
    file = written(tmp_path / "a", b"one")
    assert [downloads.known_sha256_of(file) for _ in range(3)] == [digest(b"one")] * 3
    assert computed == ["a"]
    os.utime(written(file, b"two"), ns=(OLD + 1, OLD + 1))
    assert downloads.known_sha256_of(file) == digest(b"two")
    written(file, b"three")
    assert downloads.known_sha256_of(file) == digest(b"three")


def test_a_file_that_may_still_be_changing_is_not_remembered(tmp_path: Path, computed: list[str]) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"new")
    for _ in range(2):
        assert downloads.known_sha256_of(file) == digest(b"new")
    assert computed == ["a", "a"]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 1}'])
def test_what_is_not_a_memory_is_none(content: str, tmp_path: Path, cache: Path) -> None:
    cache.mkdir()
    (cache / "checksums.json").write_text(content)
    assert downloads.known_sha256_of(written(tmp_path / "a", b"one")) == digest(b"one")


def test_files_that_are_gone_are_forgotten(tmp_path: Path, cache: Path) -> None:
    for name in ("a", "b"):
        downloads.known_sha256_of(written(tmp_path / name, b"one"))
        (tmp_path / "a").unlink(missing_ok=True)
    assert str(tmp_path / "a") not in (cache / "checksums.json").read_text()
    assert [path.name for path in cache.iterdir()] == ["checksums.json"]


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, cache: Path) -> None:
    cache.write_text("no folder")
    assert downloads.known_sha256_of(written(tmp_path / "a", b"one")) == digest(b"one")


def test_a_model_is_hashed_once_and_verified_always(tmp_path: Path, computed: list[str]) -> None:
    manifest = make_tiny_model(tmp_path)
    file = tmp_path / "tiny.safetensors"
    os.utime(file, ns=(OLD, OLD))
    found = digest(file.read_bytes())
    manifest.write_text(
        manifest.read_text().replace("{file: tiny.safetensors}", f"{{file: {file.name}, sha256: {found}}}")
    )
    for _ in range(2):
        fingerprint(load_model(manifest).manifest)
    assert computed == ["tiny.safetensors"]
    weights.verify(load_model(manifest).manifest)
    assert computed == ["tiny.safetensors"] * 2
    manifest.write_text(manifest.read_text().replace(found, "f" * 64))
    with pytest.raises(WeightsError, match=found):
        load_model(manifest)
