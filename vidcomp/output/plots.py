"""Pictures of measurements, drawn by the optional package matplotlib: a comparison, and which classes are confused."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidcomp.files import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from vidcomp.evaluation.comparison import Comparison, Row

HINT = "pictures need matplotlib: pip install 'vidcomp[plots]'"
_INCHES = (9.0, 4.2)
_DPI = 160
_DECADE = 10
# Room for a point's name above 100 %.
_TOP = 103.0
_SCORES = {"top1": "top-1 accuracy, %", "agreement": "videos labeled as by the dense row, %"}
# Colors that people who do not see red or green tell apart (Okabe and Ito), and a marker each for print.
_FAMILIES = {
    "dense": ("#0072B2", "o"),
    "sfc": ("#D55E00", "s"),
    "sgs": ("#009E73", "^"),
    "whole": ("#444444", "D"),
    "uniform": ("#CC79A7", "v"),
}
# Classes up to which every cell has its number, and every class its name.
_NUMBERED, _NAMED = 30, 110
_PALE = 0.5


class PictureError(ValueError):
    """The picture cannot be made: the message says why."""


def available() -> bool:
    """Whether matplotlib is there."""
    return find_spec("matplotlib") is not None


def require() -> None:
    """Make sure that pictures can be drawn.

    Raises:
        PictureError: matplotlib is not installed.
    """
    if not available():
        raise PictureError(HINT)


def plain(text: str) -> str:
    """Text that matplotlib takes as it stands: a dollar sign would begin a formula."""
    return printable(text).replace("$", r"\$")


def comparison_picture(comparison: Comparison, kind: str = "png") -> bytes:
    """The picture as a ``png`` or ``svg`` file.

    Raises:
        PictureError: matplotlib is missing, or no row has a score.
    """
    require()
    score = comparison.score
    if score is None:
        raise PictureError("a picture needs accuracy or agreement: name videos, and use trained weights")
    # The object interface leaves the program's own matplotlib state alone, and needs no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, cost, heading in (
        (left, lambda row: row.gmacs, "GMACs per video"),
        (right, lambda row: row.model_ms and row.model_ms.median, "model, ms per video"),
    ):
        _scatter(axes, comparison, score, cost, heading)
    bottom, top = left.get_ylim()
    left.set_yticks([tick for tick in left.get_yticks() if bottom <= tick <= min(top, 100)])
    left.set_ylabel(_SCORES[score])
    figure.suptitle(f"{plain(comparison.model)}: up is better, left is cheaper", fontsize=11)
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format=kind, dpi=_DPI, metadata={"Date": None} if kind == "svg" else None, transparent=kind == "svg"
    )
    return buffer.getvalue()


def _scatter(axes: Axes, comparison: Comparison, score: str, cost: Callable[[Row], float | None], heading: str) -> None:
    """One panel: a point per row, rows of one family joined, names beside the points."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    points: dict[str, list[tuple[float, float, str]]] = {}
    for row in comparison.rows:
        x, y = cost(row), getattr(row, score)
        if x is not None and y is not None:
            points.setdefault(_family(row), []).append((x, 100 * y, row.strategy))
    for family, members in points.items():
        members.sort()
        color, marker = _FAMILIES.get(family, ("#000000", "X"))
        xs, ys, _ = zip(*members, strict=True)
        axes.plot(xs, ys, color=color, marker=marker, markersize=8, linewidth=1, alpha=0.9)
    _name_points(axes, [point for members in points.values() for point in members])
    axes.set_xscale("log")
    axes.margins(x=0.25, y=0.25)
    axes.set_ylim(top=min(axes.get_ylim()[1], _TOP))
    axes.set_xlabel(heading)
    axes.grid(visible=True, which="major", linewidth=0.4, alpha=0.4)
    left, right = axes.get_xlim()
    # Within a decade, round steps of a logarithm may be one number or none.
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if right > _DECADE * left else MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.tick_params(labelsize=9)


def _name_points(axes: Axes, points: list[tuple[float, float, str]]) -> None:
    """Write names above and below the points by turns, from left to right, so that neighbors do not collide."""
    from matplotlib.patheffects import withStroke

    for index, (x, y, name) in enumerate(sorted(points)):
        up = index % 2 == 0
        axes.annotate(
            name,
            (x, y),
            xytext=(0, 9 if up else -9),
            textcoords="offset points",
            ha="center",
            va="bottom" if up else "top",
            fontsize=9,
            path_effects=[withStroke(linewidth=3, foreground="white")],
            zorder=3,
        )


def _family(row: Row) -> str:
    return next((family for family in _FAMILIES if row.strategy.startswith(family)), row.strategy)


def confusion_csv(confusion: NDArray[np.int64], labels: Sequence[str]) -> bytes:
    """The matrix (classes, classes) with a row per true class and a column per predicted one, both named."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["true \\ predicted", *labels])
    writer.writerows([label, *row] for label, row in zip(labels, confusion.tolist(), strict=True))
    return text.getvalue().encode()


def confusion_png(confusion: NDArray[np.int64], labels: Sequence[str], title: str) -> bytes:
    """The matrix as a picture: colors are shares of the true class, numbers are videos.

    Classes that no video has are left out as rows.

    Raises:
        PictureError: matplotlib is missing, or there is nothing to draw.
    """
    require()
    if not confusion.sum():
        raise PictureError("a confusion matrix needs at least one labeled video")
    # The object interface leaves the program's own matplotlib state alone, and needs no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = np.flatnonzero(confusion.sum(axis=1)).tolist()
    counts = confusion[rows]
    shares = counts / counts.sum(axis=1, keepdims=True)
    shown = [plain(label) for label in labels]
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
            color = "white" if shares[y, x] > _PALE else "black"
            axes.text(x, y, str(counts[y, x]), ha="center", va="center", fontsize=size, color=color)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(plain(title), fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()
