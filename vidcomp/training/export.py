"""A fitted model on disk: a manifest, and safetensors beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import save
from torch import Tensor, nn

from vidcomp.training.checkpoint import replacing
from vidcomp.training.errors import TrainingError
from vidcomp.training.paths import Paths
from vidcomp.zoo.checksums import sha256_of
from vidcomp.zoo.manifest import Manifest, WeightsSource

_LINE = 110


def save_weights(module: nn.Module, file: Path) -> WeightsSource:
    """Write a module's tensors; returns how a manifest in the same folder names them.

    Raises:
        TrainingError: the file cannot be written.
    """
    tensors: dict[str, Tensor] = {name: tensor.cpu().contiguous() for name, tensor in module.state_dict().items()}
    try:
        with replacing(file) as written:
            written.write(save(tensors))
    except OSError as error:
        raise TrainingError(
            f"{file}: cannot be written ({error.strerror}); make room, and go on with resume=True"
        ) from None
    return WeightsSource(file=file.name, sha256=sha256_of(file))


def elsewhere(manifest: Manifest) -> WeightsSource | None:
    """The backbone's weights of ``manifest`` as a manifest in another folder must name them."""
    source = manifest.backbone.weights
    return None if source is None else _from_elsewhere(source, manifest.origin.parent)


def _from_elsewhere(source: WeightsSource, folder: Path) -> WeightsSource:
    more = tuple(_from_elsewhere(part, folder) for part in source.more)
    if source.file is None:
        return source.model_copy(update={"more": more})
    path = (folder / source.file).resolve()
    return WeightsSource(path=str(path), sha256=source.sha256 or sha256_of(path), more=more)


def write_manifest(manifest: Manifest, file: Path, **changes: Any) -> Manifest:
    """Write a manifest with ``changes``, named after the file.

    Raises:
        TrainingError: the file cannot be written.
    """
    name = re.sub(r"[^A-Za-z0-9._+-]+", "-", file.stem).lstrip("._+-") or "model"
    # Those that were fitted to the old network are no siblings of the new one.
    changed = manifest.with_changes(name=name, origin=file.resolve(), siblings={}, **changes)
    content = _plain(changed.model_dump(mode="json", exclude_none=True, exclude_defaults=True))
    try:
        with replacing(file) as written:
            written.write(yaml.safe_dump(content, sort_keys=False, width=_LINE, allow_unicode=True).encode())
    except OSError as error:
        raise TrainingError(f"{file}: cannot be written ({error.strerror}); choose another name") from None
    return changed


def _plain(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if value not in ({}, [], "")}


def measured(paths: Paths, rows: Sequence[dict[str, float]]) -> tuple[dict[str, str | float | int], ...]:
    """Accuracy on the validation videos after the last epoch, as manifests say it."""
    if paths.val is None:
        return ()
    numbers: list[dict[str, str | float | int]] = []
    for key, value in rows[-1].items():
        if key.startswith("val_accuracy"):
            tau = key.removeprefix("val_accuracy").removeprefix("_tau")
            entry: dict[str, str | float | int] = {"top1": round(100 * value, 1), "data": str(paths.val)}
            numbers.append({**({"tau": float(tau)} if tau else {}), **entry})
    return tuple(numbers)


def said_of(command: str, manifest: Manifest, rows: Sequence[dict[str, float]]) -> str:
    """Where a model comes from, as its manifest says it."""
    return f"made by vidcomp {command} from {manifest.name}, {len(rows)} epochs"
