"""Which classes are taken for which: a matrix as CSV, and as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vidcomp.output import plotting
from vidcomp.output.plotting import PictureError

_DPI = 160
# Classes up to which every cell has its number, and every class its name.
_NUMBERED, _NAMED = 30, 110
_PALE = 0.5


def confusion_csv(confusion: NDArray[np.int64], labels: Sequence[str]) -> bytes:
    """The matrix (classes, classes) with a row a true class and a column a predicted one, both named."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["true \\ predicted", *labels])
    writer.writerows([label, *row] for label, row in zip(labels, confusion.tolist(), strict=True))
    return text.getvalue().encode()


def confusion_png(confusion: NDArray[np.int64], labels: Sequence[str], title: str) -> bytes:
    """The matrix as a picture: colours are shares of the true class, numbers are videos.

    Classes that no video has are left out as rows.

    Raises:
        PictureError: matplotlib is missing, or there is nothing to draw.
    """
    plotting.require()
    if not confusion.sum():
        raise PictureError("a confusion matrix needs at least one labelled video")
    # The object interface leaves the program's own matplotlib state alone, and needs no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = np.flatnonzero(confusion.sum(axis=1)).tolist()
    counts = confusion[rows]
    shares = counts / counts.sum(axis=1, keepdims=True)
    shown = [plotting.plain(label) for label in labels]
    side = min(24.0, 3.5 + 0.32 * len(labels))
    figure = Figure(figsize=(side, 1.4 + (side - 1.4) * len(rows) / len(labels)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.6)
    size = 8.0 if len(labels) <= _NUMBERED else 5.0
    if len(labels) <= _NAMED:
        axes.set_xticks(range(len(labels)), shown, rotation=90, fontsize=size)
        axes.set_yticks(range(len(rows)), [shown[row] for row in rows], fontsize=size)
    if len(labels) <= _NUMBERED:
        for y, x in np.argwhere(counts).tolist():
            colour = "white" if shares[y, x] > _PALE else "black"
            axes.text(x, y, str(counts[y, x]), ha="center", va="center", fontsize=size, color=colour)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(plotting.plain(title), fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()
