"""Downloads against a real HTTP server on this machine: fresh, cached, resumed, refused, damaged, offline."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from vidcomp.zoo import WeightsError, checksums, download

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT at /weights; can ignore ranges, or hang up after some bytes."""

    honour_ranges = True
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
        if wanted and self.server.honour_ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(CONTENT):
                self.send_error(416)
                return
            self.send_response(206)
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
    path = download.fetch(server.url, SHA256, "w.bin", lambda done, total: seen.append((done, total)))
    assert path == cache / "w.bin"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    download.fetch(server.url, SHA256, "w.bin")
    assert len(server.requested_ranges) == 1


def test_a_broken_transfer_keeps_what_arrived_and_the_next_attempt_goes_on_from_there(
    server: Server, cache: Path
) -> None:
    server.hang_up_after = 300_000
    with pytest.raises(WeightsError, match="what has arrived is kept"):
        download.fetch(server.url, SHA256, "w.bin")
    assert (cache / "w.bin.part").stat().st_size == 300_000
    server.hang_up_after = None
    assert download.fetch(server.url, SHA256, "w.bin").read_bytes() == CONTENT
    assert server.requested_ranges == [None, "bytes=300000-"]
    assert not (cache / "w.bin.part").exists()


def test_a_server_without_ranges_sends_everything_again(server: Server, cache: Path) -> None:
    cache.mkdir()
    (cache / "w.bin.part").write_bytes(b"x" * 1000)
    server.honour_ranges = False
    assert download.fetch(server.url, SHA256, "w.bin").read_bytes() == CONTENT


def test_a_part_that_is_already_whole_is_accepted(server: Server, cache: Path) -> None:
    cache.mkdir()
    (cache / "w.bin.part").write_bytes(CONTENT)
    assert download.fetch(server.url, SHA256, "w.bin").read_bytes() == CONTENT


def test_other_content_is_thrown_away(server: Server, cache: Path) -> None:
    wrong = "0" * 64
    with pytest.raises(WeightsError, match=f"{SHA256}, not {wrong}"):
        download.fetch(server.url, wrong, "w.bin")
    assert [path.name for path in cache.iterdir() if not path.name.startswith(".")] == []


def test_a_damaged_cached_file_is_fetched_again(server: Server, cache: Path) -> None:
    cache.mkdir()
    (cache / "w.bin").write_bytes(b"damaged")
    assert download.fetch(server.url, SHA256, "w.bin").read_bytes() == CONTENT


def test_a_refusal_names_the_address_and_where_to_put_the_file(server: Server, cache: Path) -> None:
    with pytest.raises(WeightsError, match=r"/nothing could not be downloaded \(Not Found\)") as caught:
        download.fetch(server.url.replace("/weights", "/nothing"), SHA256, "w.bin")
    assert str(cache / "w.bin") in str(caught.value)


def test_offline_is_one_clear_line(server: Server) -> None:
    url = server.url
    server.server_close()
    with pytest.raises(WeightsError, match="not on this machine") as caught:
        download.fetch(url, SHA256, "w.bin")
    assert "\n" not in str(caught.value)


FETCH = (
    "import sys; from vidcomp.zoo.download import fetch; "
    "told = []; print(fetch(*sys.argv[1:4], lambda done, total: told.append(done)).stat().st_size, flush=True)"
)


def fetching(server: Server) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FETCH, server.url, SHA256, "w.bin"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_of_several_processes_one_downloads_and_the_others_wait(server: Server, cache: Path) -> None:
    server.gate = threading.Event()
    running = [fetching(server) for _ in range(4)]
    server.begun.wait()
    server.gate.set()
    assert [process.communicate()[0].strip() for process in running] == [str(len(CONTENT))] * 4
    assert (cache / "w.bin").read_bytes() == CONTENT
    assert server.requested_ranges == [None]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_download_that_was_killed_is_gone_on_with(server: Server, cache: Path) -> None:
    server.gate = threading.Event()
    with fetching(server) as killed:
        server.begun.wait()
        killed.send_signal(signal.SIGKILL)
    server.gate.set()
    server.gate = None
    assert download.fetch(server.url, SHA256, "w.bin").read_bytes() == CONTENT


def test_the_cache_is_under_the_platforms_folder_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIDCOMP_CACHE")
    assert checksums.cache_folder().name == "vidcomp"
