"""What a training leaves on disk: its checkpoint, from which it continues, and the model that it fitted.

Every file is written under another name and then renamed: it is whole, or not there.
"""

from __future__ import annotations

import contextlib
import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
import yaml
from safetensors.torch import save
from torch import nn

from vidcomp.files import counted, replacing
from vidcomp.training import TrainingError
from vidcomp.training.config import Paths
from vidcomp.zoo.downloads import sha256_of
from vidcomp.zoo.manifest import Manifest, WeightsSource, models_folder

_LINE = 110
_FORMAT = 2
_GO_ON = "free some space, and continue with resume=True"


@dataclass
class Position:
    """How far a training is: epochs and, in the next one, steps that are done, with that epoch's sums so far.

    ``rows`` are the epochs' lines of the log.
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    right: int = 0
    videos: int = 0
    seconds: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)


class Checkpoint:
    """One file, always whole: it is written under another name and then renamed."""

    def __init__(self, path: Path, identity: dict[str, str]) -> None:
        """Keep a training in ``path``; ``identity`` says by name what it must agree in to be continued."""
        self.path = path
        self._identity = identity

    def write(self, position: Position, state: dict[str, Any]) -> None:
        """Replace the file by this state.

        Raises:
            TrainingError: it cannot be written; the one before it is still there.
        """
        content = {"format": _FORMAT, "identity": self._identity, "position": asdict(position), "state": state}
        with writing(self.path, _GO_ON) as file:
            torch.save(content, file)

    def read(self) -> tuple[Position, dict[str, Any]]:
        """The state that was written last.

        Raises:
            TrainingError: the file is damaged, or of another training; the message says in what it differs.
        """
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            if content["format"] != _FORMAT:
                raise TrainingError(
                    f"{self.path}: another version of vidcomp wrote this checkpoint, and only that version can "
                    "continue it; start again with overwrite=True"
                )
            position, state, identity = Position(**content["position"]), content["state"], content["identity"]
        except (OSError, RuntimeError, pickle.UnpicklingError, KeyError, TypeError, EOFError) as error:
            raise TrainingError(
                f"{self.path}: not a checkpoint that this version can read ({type(error).__name__}); "
                "start again with overwrite=True"
            ) from None
        different = sorted(key for key in self._identity if identity.get(key) != self._identity[key])
        if different:
            raise TrainingError(
                f"{self.path}: it belongs to a training with another {' and another '.join(different)}; "
                "give what was given then, or start again with overwrite=True"
            )
        return position, state


@contextlib.contextmanager
def writing(path: Path, advice: str) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of ``path`` once it is whole and on the disk, and else leaves no trace.

    Raises:
        TrainingError: it cannot be written; the message ends with the advice.
    """
    try:
        with replacing(path) as new, new.open("wb") as file:
            yield file
    except (OSError, RuntimeError) as error:  # torch has RuntimeError for a full disk
        reason = getattr(error, "strerror", None) or error
        raise TrainingError(f"{path}: cannot be written ({reason}); {advice}") from None


def save_weights(module: nn.Module, file: Path) -> WeightsSource:
    """Write a module's tensors; returns how a manifest in the same folder names them.

    Raises:
        TrainingError: the file cannot be written.
    """
    with writing(file, _GO_ON) as written:
        written.write(save({name: tensor.cpu().contiguous() for name, tensor in module.state_dict().items()}))
    return WeightsSource(file=file.name, sha256=sha256_of(file))


def base_of(manifest: Manifest) -> str:
    """How a manifest elsewhere names this one as its base: by its name if it ships, else by its file."""
    ships = manifest.origin.parent == models_folder().resolve()
    return manifest.name if ships else str(manifest.origin)


def export(manifest: Manifest, paths: Paths, rows: Sequence[dict[str, float]], by: str, **changes: Any) -> Manifest:
    """Write the manifest of what a training fitted, named after its file, and remove the checkpoint.

    Args:
        manifest: that of the model which training started from.
        paths: where it goes.
        rows: the epochs' lines of the log.
        by: the command that did it.
        changes: of the manifest; what it measured, where it comes from and its siblings follow from the training.

    Raises:
        TrainingError: the file cannot be written.
    """
    file = paths.output
    changed = manifest.with_changes(
        name=name_of(file),
        origin=file.resolve(),
        base=None,  # all that it said is here
        siblings={},  # those were fitted to the old network
        reported=(),
        measured=() if paths.val is None else _accuracies(rows[-1], str(paths.val)),
        source=f"made by vidcomp {by} from {manifest.name}, {counted(len(rows), 'epoch')}",
        **changes,
    )
    content = changed.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    if changed.backbone == manifest.backbone:
        # Nothing but the compressors is new: all else is said, and lies, where it did before.
        own = {"summary", "compressors", "measured", "source"}
        content = {"name": changed.name, "base": base_of(manifest), **{key: content.get(key) for key in own}}
    write_manifest(file, {key: value for key, value in content.items() if value not in ({}, [], "", None)})
    paths.checkpoint.unlink(missing_ok=True)
    return changed


def name_of(file: Path) -> str:
    """The name of the model whose manifest is in this file."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", file.stem).lstrip("._+-") or "model"


def write_manifest(file: Path, content: Mapping[str, Any]) -> None:
    """Write a manifest's keys and values.

    Raises:
        TrainingError: the file cannot be written.
    """
    with writing(file, "choose another name") as written:
        written.write(yaml.safe_dump(dict(content), sort_keys=False, width=_LINE, allow_unicode=True).encode())


def _accuracies(row: dict[str, float], data: str) -> tuple[dict[str, str | float | int], ...]:
    """Accuracy on the validation videos as manifests say it."""
    taus = {key.removeprefix("val_accuracy"): value for key, value in row.items() if key.startswith("val_accuracy")}
    return tuple(
        {**({"tau": float(tau.removeprefix("_tau"))} if tau else {}), "top1": round(100 * value, 1), "data": data}
        for tau, value in taus.items()
    )
