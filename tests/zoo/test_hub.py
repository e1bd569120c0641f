"""Models of the Hugging Face Hub, from a server on this machine that answers as the Hub does."""

from __future__ import annotations

import base64
import hashlib
import http.server
import importlib.util
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from vidcomp.zoo import ManifestError
from vidcomp.zoo.manifest import find_manifest

HAVE = importlib.util.find_spec("transformers") is not None
COMMIT = "0" * 40


class Hub(http.server.ThreadingHTTPServer):
    """Serves a folder OWNER/NAME/FILE by the Hub's addresses, and takes commits."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.0"  # a connection for each request: none outlives the server

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        owner, name, verb, _, file = [*self.path.split("?")[0].lstrip("/").split("/", 4), "", "", "", ""][:5]
        path = self.server.folder / owner / name / file
        if verb == "resolve" and path.is_file():
            self.send(path.read_bytes(), body=body)
        elif (self.server.folder / owner / name).is_dir():
            self.send(b"{}", 404, body=body, code="EntryNotFound")
        else:
            self.send(b"{}", 404, body=body, code="RepoNotFound")

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self.send(json.dumps({"url": f"{self.server.url}/me/mine"}).encode())
            return
        if self.path == "/api/validate-yaml":
            self.send(b'{"errors": [], "warnings": []}')
            return
        _, _, _, owner, name, verb, *_ = self.path.split("/")
        if verb == "preupload":
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(content)["files"]
            ]
            self.send(json.dumps({"files": files}).encode())
            return
        folder = self.server.folder / owner / name
        folder.mkdir(parents=True, exist_ok=True)
        for line in content.decode().splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                (folder / entry["value"]["path"]).write_bytes(base64.b64decode(entry["value"]["content"]))
        self.send(
            json.dumps(
                {"commitUrl": f"{self.server.url}/me/mine/commit/{COMMIT}", "commitOid": COMMIT, "success": True}
            ).encode()
        )

    def send(self, content: bytes, status: int = 200, *, body: bool = True, code: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        if code is not None:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What hub_child found."""
    if not HAVE:
        pytest.skip("transformers is not installed (pip install 'vidcomp[hf]')")
    folder = tmp_path_factory.mktemp("hub")
    with Hub(folder) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        environment = {
            **{key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "VIDCOMP_OFFLINE")},
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path_factory.mktemp("home")),
            "HF_TOKEN": "hf_none",
            "HF_HUB_DISABLE_XET": "1",
            "VIDCOMP_CACHE": str(tmp_path_factory.mktemp("cache")),
        }
        command = [sys.executable, "-m", "tests.zoo.hub_child", str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        hub.shutdown()
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["videomae", "timesformer", "vivit", "vjepa2"])
def test_a_classifier_of_transformers_says_what_it_says_there(kind: str, said: dict[str, Any]) -> None:
    answer = said[kind]
    assert answer["found"] == answer["plain"]
    assert answer["label"] == f"action {answer['plain'][0]}"
    assert answer["used"] == [answer["clip"]] * 3
    assert all(answer["ok"])


@pytest.mark.slow
def test_what_is_no_classifier_is_said_in_a_line(said: dict[str, Any]) -> None:
    assert said["hf:tiny/absent"].startswith("hf:tiny/absent: not available")
    assert "so it classifies nothing" in said["hf:tiny/backbone"]
    assert "a vit classifies no videos" in said["hf:tiny/pictures"]
    assert said["hf:tiny/unfed"] == "hf:tiny/unfed: it has no processor that says how to prepare videos"
    assert "does not recognize this architecture" in said["hf:tiny/strange"]
    assert "custom code" in said["hf:tiny/code"]
    assert [name for name in said if "check the name and the network" in str(said[name])] == ["hf:tiny/absent"]
    assert said["hf:tiny/"] == "'hf:tiny/': a repository is named hf:OWNER/NAME"
    assert not any("\n" in line for name, line in said.items() if name.startswith("hf:"))


@pytest.mark.slow
def test_what_is_pushed_is_the_same_model_there(said: dict[str, Any]) -> None:
    assert said["pushed"].endswith("/me/mine")
    assert said["same"] is True


def test_without_the_library_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ManifestError, match=r"huggingface_hub is not installed: pip install 'vidcomp\[hf\]'"):
        find_manifest("hf:owner/name")
