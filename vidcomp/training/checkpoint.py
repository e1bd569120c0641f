"""A training's state on disk, from which it goes on to the same result as if it had never stopped."""

from __future__ import annotations

import contextlib
import os
import pickle
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import torch

from vidcomp.training.errors import TrainingError

_FORMAT = 2


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
        try:
            with replacing(self.path) as file:
                torch.save(content, file)
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise TrainingError(
                f"{self.path}: the checkpoint cannot be written ({reason}); make room, and go on with resume=True"
            ) from None

    def read(self) -> tuple[Position, dict[str, Any]]:
        """The state that was written last.

        Raises:
            TrainingError: the file is damaged, or of another training; the message says in what it differs.
        """
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            if content["format"] != _FORMAT:
                raise TrainingError(
                    f"{self.path}: another version of vidcomp wrote this checkpoint, and only it can go on; "
                    "start again with anew=True"
                )
            position, state, identity = Position(**content["position"]), content["state"], content["identity"]
        except (OSError, RuntimeError, pickle.UnpicklingError, KeyError, TypeError, EOFError) as error:
            raise TrainingError(
                f"{self.path}: not a checkpoint that this version can read ({type(error).__name__}); "
                "start again with anew=True"
            ) from None
        different = sorted(key for key in self._identity if identity.get(key) != self._identity[key])
        if different:
            raise TrainingError(
                f"{self.path}: it belongs to a training with another {' and another '.join(different)}; "
                "give what was given then, or start again with anew=True"
            )
        return position, state


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of ``path`` once it is whole and on the disk, and else leaves no trace."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    written = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # A temporary file is its owner's alone; the result is as readable as any other new file.
        mask = os.umask(0)
        os.umask(mask)
        written.chmod(0o666 & ~mask)
        written.replace(path)
    except BaseException:
        written.unlink(missing_ok=True)
        raise
