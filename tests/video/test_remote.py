"""Addresses as videos, against a server on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from vidcomp.video.errors import VideoTooLarge, VideoUnreachable
from vidcomp.video.remote import Downloads, is_address

BODY = bytes(range(256)) * 8


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path in ("/file.mp4", "/ftp.mp4"):
            self.send_response(302)
            self.send_header("Location", f"{self.path[1:-4]}:///etc/passwd")
            self.end_headers()
        elif self.path == "/moved.mp4":
            self.send_response(302)
            self.send_header("Location", "/clip.mp4")
            self.end_headers()
        elif self.path in ("/clip.mp4", "/short.mp4"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY) + (self.path == "/short.mp4")))
            self.end_headers()
            self.wfile.write(BODY)
        elif self.path == "/endless.mp4":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(BODY)
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture
def downloads() -> Iterator[Downloads]:
    made = Downloads()
    yield made
    made.close()


def test_what_is_fetched_is_a_file_until_dropped(server: str, downloads: Downloads) -> None:
    for name in ("clip.mp4", "moved.mp4"):
        file = Path(downloads.local(f"{server}/{name}"))
        assert (file.read_bytes(), file.suffix) == (BODY, ".mp4")
        assert downloads.local(f"{server}/{name}") == str(file)
        downloads.drop(f"{server}/{name}")
        assert not file.exists()
    assert downloads._files == {}  # of millions, nothing is remembered
    assert Path(downloads.local(f"{server}/clip.mp4")).exists()
    folder = file.parent
    downloads.close()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone.mp4", "Not Found"),
        ("file.mp4", "not allowed"),
        ("ftp.mp4", "unknown url type: ftp"),
        ("short.mp4", r"ended after 2048 of 2049 bytes|more expected"),
    ],
)
def test_what_cannot_be_fetched_is_its_error(server: str, downloads: Downloads, name: str, reason: str) -> None:
    with pytest.raises(VideoUnreachable, match=reason) as caught:
        downloads.local(f"{server}/{name}")
    assert caught.value.path == f"{server}/{name}"
    with pytest.raises(VideoUnreachable, match="refused"):
        downloads.local("http://127.0.0.1:9/x.mp4")


@pytest.mark.parametrize("name", ["clip.mp4", "endless.mp4"])
def test_no_more_is_fetched_than_allowed(server: str, name: str) -> None:
    small = Downloads(max_bytes=1000)
    with pytest.raises(VideoTooLarge, match="longer than"):
        small.local(f"{server}/{name}")
    small.close()


def test_only_web_addresses_are_fetched() -> None:
    assert is_address("https://x.example/a.mp4")
    assert is_address("HTTP://x.example/a.mp4")
    for name in ("ftp://x/a.mp4", "file:///etc/passwd", "concat:a|b", "a.mp4", "http:/x"):
        assert not is_address(name)
