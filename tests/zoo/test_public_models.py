"""Every model of the list from a server on this machine that has checkpoints of the public names and shapes.

Their numbers are random. What a model says of a clip must be what its network says in a plain pass.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import http.server
import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from tests.zoo.public_checkpoints import CHECKPOINTS, Shapes, slowfast, x3d
from vidcomp.cli import app
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.grammar import parse_strategy
from vidcomp.zoo import WeightsError, downloads
from vidcomp.zoo.build import LoadedModel, build_backbone, load_variant
from vidcomp.zoo.convert import SOURCES, recognize_family
from vidcomp.zoo.manifest import Manifest, PreprocessingSection, find_manifest, list_manifests, models_folder
from vidcomp.zoo.weights import verify

SHAPES = CHECKPOINTS | {
    **{("pytorchvideo", f"x3d_{size}"): x3d((3, 5, 11, 7)) for size in ("xs", "s", "m")},
    ("pytorchvideo", "x3d_l"): x3d((5, 10, 25, 15)),
    ("pytorchvideo", "slowfast_4x16_r50"): slowfast(5),
    ("pytorchvideo", "slowfast_8x8_r50"): slowfast(7),
}
PUBLIC = [manifest.name for manifest in list_manifests() if any(downloads.downloads_of(manifest))]
# Soon done; the others take minutes.
QUICK = ("x3d_xs",)
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PUBLIC]


def healthy(shapes: Shapes) -> dict[str, Tensor]:
    """Random tensors of those shapes, through which numbers pass without growing beyond all bounds."""
    generator = torch.Generator().manual_seed(0)

    def of(key: str, shape: tuple[int, ...]) -> Tensor:
        if key.endswith("num_batches_tracked"):
            return torch.zeros(shape, dtype=torch.int64)
        if len(shape) > 1:
            fan = int(np.prod(shape[1:]))
            return torch.randn(shape, generator=generator) * fan**-0.5
        noise = torch.rand(shape, generator=generator) * 0.1
        return noise if key.endswith(("bias", "running_mean")) else noise + 0.9

    return {key: of(key, shape) for key, shape in shapes.items()}


def checkpoint(publisher: str, family: str) -> dict[str, Any]:
    """A checkpoint as its publisher would save it."""
    if publisher == "torchvision":
        from torchvision.models import get_model

        torch.manual_seed(0)
        return dict(get_model(family).state_dict())
    tensors = healthy(SHAPES[publisher, family])
    return {"pytorchvideo": {"model_state": tensors}, "mmaction2": {"state_dict": tensors}}.get(publisher, tensors)


@functools.lru_cache(maxsize=1)
def content_of(name: str) -> bytes:
    source = find_manifest(name).backbone.weights
    assert source is not None
    assert source.format is not None
    buffer = io.BytesIO()
    torch.save(checkpoint(source.format, find_manifest(name).backbone.family), buffer)
    return buffer.getvalue()


class Mirror(http.server.ThreadingHTTPServer):
    """Has every model's checkpoint below the host and path of its public address."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.change: Callable[[bytes], bytes] = lambda content: content
        self.names: dict[str, str] = {}
        for manifest in list_manifests():
            for download in downloads.downloads_of(manifest):
                self.names.setdefault("/" + download.url.partition("://")[2], manifest.name)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path not in self.server.names:
            self.send_error(404)
            return
        content = content_of(self.server.names[self.path])
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(self.server.change(content))

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setenv("VIDCOMP_CACHE", str(tmp_path / "cache"))
    for name in ("VIDCOMP_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with Mirror() as running:
        monkeypatch.setenv("VIDCOMP_MIRROR", f"http://127.0.0.1:{running.server_address[1]}")
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def with_own_checksum(manifest: Manifest, sha256: str | None = None) -> Manifest:
    """The manifest, naming what the server sends where it names the checksum of what the publisher does."""
    source = manifest.backbone.weights
    assert source is not None
    if source.sha256 is None and sha256 is None:
        return manifest
    digest = sha256 or hashlib.sha256(content_of(manifest.name)).hexdigest()[:8]
    changed = source.model_copy(update={"sha256": digest})
    return manifest.with_changes(backbone=manifest.backbone.model_copy(update={"weights": changed}))


def small(manifest: Manifest) -> Manifest:
    """The manifest with clips of 8 frames of 64 pixels, or of the size that its network takes alone."""
    with torch.device("meta"):
        spec = build_backbone(manifest).spec
    # torchvision's own S3D takes no frames that are smaller than its last pool.
    only = spec.fixed_length or manifest.name == "s3d"
    sizes = {"short_side": spec.crop} if only else {"short_side": 64, "crop": 64, "clip_frames": 8}
    changes = {**dict(manifest.preprocessing), **sizes}
    return manifest.with_changes(preprocessing=PreprocessingSection(**changes))


def plain_logits(manifest: Manifest, frames: np.ndarray[Any, Any]) -> Tensor:
    """What the weights say of a whole clip: by torchvision's own network, or by one with the converted tensors."""
    family, source = manifest.backbone.family, manifest.backbone.weights
    assert source is not None
    assert source.format is not None
    state = torch.load(io.BytesIO(content_of(manifest.name)), weights_only=True)
    network: torch.nn.Module
    if source.format == "torchvision":
        from torchvision.models import get_model

        network = get_model(family)
        network.load_state_dict(state)
    else:
        tensors, _ = recognize_family(
            state.get("model_state", state.get("state_dict", state)), SOURCES[source.format], family
        )
        network = build_backbone(manifest)
        network.load_state_dict(tensors)
    spec = build_backbone(manifest).spec
    clip = (torch.from_numpy(frames).float() / 255 - torch.tensor(spec.mean)) / torch.tensor(spec.std)
    with torch.inference_mode():
        logits: Tensor = network.eval()(clip.permute(3, 0, 1, 2)[None])
    return logits[0]


def moving(count: int, side: int) -> np.ndarray[Any, Any]:
    """Frames (T, side, side, 3) of a bright square that wanders over noise."""
    frames = np.random.default_rng(0).integers(0, 128, (count, side, side, 3), np.uint8)
    for number, frame in enumerate(frames):
        at = number * 5 % (side - 16)
        frame[at : at + 16, at : at + 16] = 255
    return frames


def labels_of(model: LoadedModel, name: str, frames: np.ndarray[Any, Any]) -> tuple[list[int], str]:
    strategy = parse_strategy(name).strategy
    with Classifier(model, device="cpu", strategy=strategy, precision="fp32") as classifier:
        prediction = classifier(frames)
    assert prediction.ok, prediction.error
    return [label.index for label in prediction.labels[:5]], prediction.strategy


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_fetched_and_says_what_its_network_says(name: str, mirror: Mirror) -> None:
    manifest = small(with_own_checksum(find_manifest(name)))
    model = load_variant(manifest)
    assert len(mirror.asked) == 1
    spec = model.spec
    frames = moving(16, spec.crop)
    # Every stride-th frame of these is a frame of those.
    film = frames if spec.fixed_length else frames.repeat(spec.stride, axis=0)
    whole = load_variant(parse_strategy("whole").manifest(manifest))
    expected = plain_logits(manifest, frames)
    found, strategy = labels_of(whole, "whole", film)
    assert strategy == "whole"
    assert found == expected.topk(5).indices.tolist()
    found, strategy = labels_of(model, "whole", film)
    untrained = [section.kind for section in manifest.compressors if section.kind != "identity"]
    assert strategy == ("+".join(untrained) + ", untrained" if untrained else "whole")
    assert len(mirror.asked) == 1
    verify(manifest)


def test_from_the_command_line(mirror: Mirror, clip: Path) -> None:
    arguments = ["classify", str(clip), "--model", "x3d_xs", "--format", "jsonl", "--device", "cpu"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["strategy"] == "sfc, untrained"
    assert "x3d_xs: weights were fetched from https://dl.fbaipublicfiles.com/" in result.stderr
    assert "x3d_xs: sfc is untrained; 'vidcomp train FOLDER --model x3d_xs --compressor sfc --teacher" in result.stderr
    again = CliRunner().invoke(app, [*arguments, "--strategy", "sgs+sfc"])
    assert json.loads(again.stdout)["strategy"] == "sgs+sfc, untrained"
    assert "fetched" not in again.stderr

    def models(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["models", *arguments])
        assert done.exit_code == 0, done.output
        return str(done.stdout)

    listed = {row["name"]: row["weights"] for row in json.loads(models("list", "--format", "json"))}
    assert (listed["x3d_xs"], listed["x3d_m"], listed["x3d_xl"]) == ("on this disk", "one download", "bring your own")
    assert models("get", "x3d_xs") == "x3d_xs: was here already; 3,825,858 parameters, 400 labels\n"
    assert models("cache").splitlines()[1].split()[0] == "x3d_xs"
    assert models("remove", "x3d_xs").splitlines()[-1].startswith("1 file removed, 15")
    assert models("remove", "--all") == "nothing of that was downloaded\n"


def load(name: str = "x3d_xs") -> LoadedModel:
    return load_variant(find_manifest(name))


def test_what_was_fetched_once_stays_the_same(mirror: Mirror, tmp_path: Path) -> None:
    load()
    (kept,) = downloads.kept()
    # Damaged on this disk, it is fetched again.
    kept.write_bytes(b"damaged")
    load()
    assert len(mirror.asked) == 2
    # Another file at the same address is none of ours.
    downloads.remove(kept)
    mirror.change = lambda content: content[:-1] + bytes([content[-1] ^ 1])
    with pytest.raises(WeightsError, match=r"what arrived has sha256 [0-9a-f]{64}, not [0-9a-f]{64}; it was discarded"):
        load()
    assert downloads.kept() == []


def test_what_is_no_checkpoint_is_thrown_away(mirror: Mirror) -> None:
    mirror.change = lambda content: b"<html>" + content[6:]
    with pytest.raises(WeightsError, match=r"X3D_XS\.pyth: .*not readable as a checkpoint.*discarded: try again"):
        load()
    assert downloads.kept() == []


def test_offline_nothing_is_fetched(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("VIDCOMP_OFFLINE", "HF_HUB_OFFLINE"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, "1")
            with pytest.raises(
                WeightsError, match=rf"{variable} forbids to download https://dl\.fbai.*put the file at"
            ):
                load()
    assert mirror.asked == []


def test_a_full_disk_ends_in_one_line(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("vidcomp.zoo.convert.engine.save_file", full)
        with pytest.raises(WeightsError, match=r"cannot be written .*No space left on device"):
            load()
    load()
    assert len(mirror.asked) == 1, "what had arrived was kept"


def test_two_at_once_fetch_once(mirror: Mirror) -> None:
    failures: list[Exception] = []

    def one() -> None:
        try:
            load()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(mirror.asked) == 1


def test_torchvisions_addresses_are_torchvisions() -> None:
    from torchvision.models import get_model_weights

    for manifest in list_manifests():
        source = manifest.backbone.weights
        if source is not None and source.format == "torchvision":
            urls = {weights.url for weights in get_model_weights(manifest.backbone.family)}
            assert source.url in urls
            assert source.url.rsplit("-", 1)[1] == f"{source.sha256}.pth"


def test_published_checksums_are_in_the_addresses() -> None:
    for manifest in list_manifests():
        for download in downloads.downloads_of(manifest):
            assert download.sha256 in Path(urlsplit(download.url).path).name
    assert models_folder().is_dir()
