"""What an epoch was like, a line each: a CSV file, and TensorBoard where it is asked for."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from vidcomp.training.checkpoint import replacing
from vidcomp.training.errors import RequestError, TrainingError

HINT = "a log for TensorBoard needs it: pip install 'vidcomp[tensorboard]'"


def available() -> bool:
    """Whether TensorBoard is there."""
    return find_spec("tensorboard") is not None


class Log:
    """The epochs so far, written anew after each, so that a training that goes on repeats none."""

    def __init__(self, file: Path, tensorboard: Path | None = None) -> None:
        """Log to ``file``, and to a folder for TensorBoard.

        Raises:
            RequestError: TensorBoard is asked for and missing.
        """
        if tensorboard is not None and not available():
            raise RequestError(HINT)
        self._file = file
        self._tensorboard = tensorboard

    def write(self, rows: Sequence[dict[str, float]]) -> None:
        """Write all epochs; the last of them is new to TensorBoard."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        try:
            with replacing(self._file) as file:
                file.write(text.getvalue().encode())
        except OSError as error:
            raise TrainingError(f"{self._file}: the log cannot be written ({error.strerror})") from None
        if self._tensorboard is not None:
            self._show(rows[-1])

    def _show(self, row: dict[str, float]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(self._tensorboard), purge_step=int(row["epoch"])) as board:
            for name, value in row.items():
                if name != "epoch":
                    board.add_scalar(name, value, int(row["epoch"]))
