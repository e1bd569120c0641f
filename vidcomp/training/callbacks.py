"""Who is told how a training goes: callbacks, and the log of its epochs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vidcomp.training import RequestError
from vidcomp.training.export import writing


@dataclass(frozen=True)
class StepState:
    """Where training is after a step, with the running epoch's mean loss and share of right labels."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float


class Callbacks:
    """Hears everything and says nothing; override what is of interest."""

    def note(self, line: str) -> None:
        """A remark."""

    def skipped(self, line: str) -> None:
        """A video that cannot be read, and why."""

    def begin(self, what: str, total: int) -> None:
        """Something with so many steps begins."""

    def advance(self) -> None:
        """One of them is done."""

    def step(self, state: StepState) -> None:
        """A step of the optimizer is done."""

    def epoch(self, row: dict[str, float]) -> None:
        """An epoch is done; ``row`` is its line of the log."""

    def stopping(self) -> bool:
        """Whether training is to stop as soon as nothing is half done."""
        return False


class EpochLog:
    """A CSV file with a line per epoch, and TensorBoard where it is asked for.

    The file is written again after each epoch, so that a training that continues repeats none.
    """

    def __init__(self, file: Path, tensorboard: Path | None = None) -> None:
        """Log to ``file``, and to a folder for TensorBoard.

        Raises:
            RequestError: TensorBoard is asked for and missing.
        """
        if tensorboard is not None and find_spec("tensorboard") is None:
            raise RequestError("a log for TensorBoard needs it: pip install 'vidcomp[tensorboard]'")
        self._file = file
        self._tensorboard = tensorboard

    def write(self, rows: Sequence[dict[str, float]]) -> None:
        """Write all epochs; the last of them is new to TensorBoard."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with writing(self._file, "free some space, and continue with resume=True") as file:
            file.write(text.getvalue().encode())
        if self._tensorboard is not None:
            self._show(rows[-1])

    def _show(self, row: dict[str, float]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(self._tensorboard), purge_step=int(row["epoch"])) as board:
            for name, value in row.items():
                if name != "epoch":
                    board.add_scalar(name, value, int(row["epoch"]))
