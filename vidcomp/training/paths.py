"""Where a training reads and writes, and what must not be lost there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vidcomp.training.errors import RequestError


@dataclass(frozen=True)
class Paths:
    """Where a training reads and writes.

    ``source`` are the videos, ``output`` the manifest to write; the weights, the log (``.log.csv``) and the checkpoint
    (``.checkpoint.pt``) get its name. ``val`` are videos to judge by. ``cache`` (by default vidcomp's own cache folder)
    holds at most ``cache_gb`` thousand million bytes of features.
    """

    source: Path
    output: Path
    val: Path | None = None
    cache: Path | None = None
    cache_gb: float = 20.0
    workers: int = 1
    device: str = "auto"
    resume: bool = False
    overwrite: bool = False
    tensorboard: Path | None = None

    @property
    def checkpoint(self) -> Path:
        """The checkpoint's file."""
        return self.output.with_suffix(".checkpoint.pt")

    @property
    def log(self) -> Path:
        """The log's file."""
        return self.output.with_suffix(".log.csv")

    def weights(self, part: str = "") -> Path:
        """The file of weights, or of one part of them."""
        return self.output.with_suffix(f".{part}.safetensors" if part else ".safetensors")

    def check(self) -> None:
        """Find out before the work, not after it, that its result cannot be written.

        Raises:
            RequestError: nor may what is there be lost.
        """
        if self.output.suffix not in (".yaml", ".yml"):
            raise RequestError(f"{self.output}: the manifest's name must end in .yaml")
        if not self.output.parent.is_dir():
            raise RequestError(f"{self.output}: there is no folder {self.output.parent}; make it first")
        if self.overwrite:
            return
        if self.checkpoint.exists():
            if not self.resume:
                raise RequestError(
                    f"{self.checkpoint}: a training that was not finished; go on with it (resume=True), or start again "
                    "(anew=True)"
                )
        elif self.output.exists():
            raise RequestError(f"{self.output}: it exists already; choose another name, or write over it (anew=True)")
