"""The picture of one video's attention: the map over a film strip, after figure 6 of the SFC paper (Liu et al., 2021).

For a compressor that groups frames, the frames of the largest bins too, after figure A.5 of the SGS paper (Fayyaz et
al., CVPR 2021).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidcomp.attention import ATTENDED, AttentionMap, importance_of
from vidcomp.output import plots
from vidcomp.output.terminal import clock, is_short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STRIP_FRAMES = 12
"""Frames of the film strip."""

_BINS, _BIN_FRAMES = 8, 10
_DPI = 120
_YELLOW, _GRAY, _BLUE = "#f5c400", "#b0b0b0", "#0072B2"

# Inches: margins, the part of the width that all panels share, and heights.
_LEFT, _WIDTH, _RIGHT = 0.85, 10.5, 0.75
_TITLE, _MAP, _CURVE, _GAP, _TIMES = 0.6, 2.6, 1.0, 0.28, 0.5
_TALLEST = 1.8

Pictures = Mapping[int, NDArray[np.uint8]]


def without_filling(attention: AttentionMap) -> AttentionMap:
    """The map of a video's own frames: what was repeated at the end of a short one counts for the frame it repeats."""
    first = np.flatnonzero(np.diff(attention.seconds, prepend=-np.inf) > 0)

    def joined(weights: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.add.reduceat(weights, first, axis=1)

    return replace(
        attention,
        weights=joined(attention.weights),
        seconds=attention.seconds[first],
        indices=None if attention.indices is None else attention.indices[first],
        grouping=None if attention.grouping is None else joined(attention.grouping),
    )


def strip_frames(importance: NDArray[np.float64]) -> list[int]:
    """Which input frames the film strip shows: of each of its equal parts the most important frame."""
    parts = np.array_split(np.arange(len(importance)), min(STRIP_FRAMES, len(importance)))
    return [int(part[importance[part].argmax()]) for part in parts]


def bin_frames(attention: AttentionMap) -> dict[int, tuple[int, list[int]]]:
    """Of the largest bins, in their order: how many input frames each holds, and some of these spread evenly."""
    if attention.groups is None:
        return {}
    members = [np.flatnonzero(row) for row in attention.groups]
    largest = sorted(range(len(members)), key=lambda index: -len(members[index]))[:_BINS]
    shown = {}
    for index in sorted(largest):
        frames = members[index]
        picks = np.linspace(0, len(frames) - 1, min(_BIN_FRAMES, len(frames))).round().astype(int)
        shown[index] = (len(frames), frames[picks].tolist())
    return shown


def frames_needed(attention: AttentionMap) -> list[int]:
    """The input frames (0 to T − 1) whose pictures :func:`draw` wants: some ninety at most, however long the video."""
    strip = strip_frames(importance_of(attention.weights))
    return sorted({*strip, *(frame for _, frames in bin_frames(attention).values() for frame in frames)})


def draw(attention: AttentionMap, pictures: Pictures, title: str) -> bytes:
    """The picture as a PNG file; ``pictures`` (H, W, 3) are of the :func:`frames_needed`, by input frame.

    Raises:
        PictureError: matplotlib is missing.
    """
    plots.require()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    importance = importance_of(attention.weights)
    strip, bins = strip_frames(importance), bin_frames(attention)
    height, width = next(iter(pictures.values())).shape[:2]
    strip_height = min(_TALLEST, _WIDTH / max(6, len(strip)) * height / width)
    bin_height = min(1.0, _WIDTH / (_BIN_FRAMES + 1) * height / width)
    bins_height = (bin_height + 0.06) * len(bins) + (0.35 if bins else 0)
    total = _TITLE + strip_height + _GAP + _MAP + _GAP + _CURVE + _TIMES + bins_height + 0.1

    figure = Figure(figsize=(_LEFT + _WIDTH + _RIGHT, total))
    FigureCanvasAgg(figure)
    page = _Page(figure, total)
    figure.text(_LEFT / page.width, 1 - 0.32 / total, plots.plain(title), fontsize=11)
    _draw_strip(page.panel(_TITLE, strip_height), attention, importance, pictures, strip)
    top = _TITLE + strip_height + _GAP
    _draw_map(page.panel(top, _MAP), page.panel(top, _MAP, left=_LEFT + _WIDTH + 0.1, width=0.12), attention)
    _draw_curve(page.panel(top + _MAP + _GAP, _CURVE), attention, importance)
    top += _MAP + _GAP + _CURVE + _TIMES
    if bins:
        figure.text(
            _LEFT / page.width, 1 - (top + 0.2) / total, "Frames of the largest bins, in order of time", fontsize=9
        )
    for row, (index, (count, frames)) in enumerate(bins.items()):
        axes = page.panel(top + 0.35 + row * (bin_height + 0.06), bin_height)
        _draw_bin(axes, f"bin {index}\n{count} frame{'s' if count > 1 else ''}", frames, pictures)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A name may hold characters that the font lacks; a box stands for them.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


class _Page:
    """Places panels by inches from the top, so that all share the same left and right edge to the pixel."""

    def __init__(self, figure: Figure, height: float) -> None:
        self.figure = figure
        self.width = _LEFT + _WIDTH + _RIGHT
        self.height = height

    def panel(self, top: float, height: float, left: float = _LEFT, width: float = _WIDTH) -> Axes:
        box = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box)


def _draw_strip(
    axes: Axes, attention: AttentionMap, importance: NDArray[np.float64], pictures: Pictures, strip: list[int]
) -> None:
    """One picture per part of the frames, above that part of the map; parts attended on average framed in yellow."""
    frames = len(importance)
    edges = np.linspace(0, frames, len(strip) + 1).tolist()
    means = [float(part.mean()) for part in np.array_split(importance, len(strip))]
    axes.set(xlim=(0, frames), ylim=(0, 1))
    for frame, start, end, mean in zip(strip, edges, edges[1:], means, strict=False):
        attended = mean >= ATTENDED
        _place(axes, pictures[frame], (start, end), _YELLOW if attended else None)
        axes.text(
            (start + end) / 2,
            -0.04,
            clock(float(attention.seconds[frame]), tenths=is_short(float(attention.seconds[-1]))),
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="top",
            fontsize=8,
            fontweight="bold" if attended else "normal",
        )
    axes.axis("off")


def _draw_map(axes: Axes, bar: Axes, attention: AttentionMap) -> None:
    from matplotlib.ticker import MaxNLocator

    rows, frames = attention.weights.shape
    image = axes.imshow(
        attention.weights,
        aspect="auto",
        extent=(0, frames, rows, 0),
        cmap="viridis",
        vmin=0,
        interpolation="nearest" if max(rows, frames) < 500 else "antialiased",
    )
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("output frame (bin)" if attention.compressor == "sgs" else "output frame", fontsize=9)
    axes.set_xticks(_ticks(attention)[0])
    axes.tick_params(labelsize=8, labelbottom=False)
    axes.figure.colorbar(image, cax=bar)
    bar.tick_params(labelsize=7)


def _draw_curve(axes: Axes, attention: AttentionMap, importance: NDArray[np.float64]) -> None:
    frames = len(importance)
    colors = np.where(importance >= ATTENDED, _YELLOW, _GRAY)
    axes.bar(np.arange(frames) + 0.5, importance, width=1.0, color=colors.tolist(), linewidth=0)
    axes.axhline(ATTENDED, color=_BLUE, linewidth=0.8, linestyle="--")
    axes.set_xlim(0, frames)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("importance", fontsize=9)
    axes.set_xticks(*_ticks(attention))
    axes.tick_params(labelsize=8)
    axes.set_xlabel(f"time; {frames} input frames, attended from the dashed line up (yellow)", fontsize=9)


def _ticks(attention: AttentionMap) -> tuple[list[float], list[str]]:
    """Where both panels have ticks, evenly, and the times there."""
    frames, tenths = len(attention.seconds), is_short(float(attention.seconds[-1]))
    places = np.linspace(0.5, frames - 0.5, min(9, frames))
    times = np.interp(places - 0.5, np.arange(frames), attention.seconds)
    return places.tolist(), [clock(float(time), tenths=tenths) for time in times]


def _draw_bin(axes: Axes, name: str, frames: list[int], pictures: Pictures) -> None:
    axes.set(xlim=(0, _BIN_FRAMES + 1), ylim=(0, 1))
    for place, frame in enumerate(frames):
        _place(axes, pictures[frame], (place, place + 1), None)
    axes.text(-0.01, 0.5, name, transform=axes.transAxes, ha="right", va="center", fontsize=8)
    axes.axis("off")


def _place(axes: Axes, picture: NDArray[np.uint8], span: tuple[float, float], frame_color: str | None) -> None:
    """Put a picture, its shape kept, in the middle of a span of a panel's width, framed if a color is given."""
    from matplotlib.patches import Rectangle

    box = axes.get_window_extent()
    unit = (axes.get_xlim()[1] - axes.get_xlim()[0]) / box.width
    height, width = picture.shape[:2]
    shown = min(0.94 * (span[1] - span[0]) / unit, box.height * width / height)
    across, up = shown * unit, shown * height / width / box.height
    left, bottom = (span[0] + span[1] - across) / 2, (1 - up) / 2
    axes.imshow(picture, extent=(left, left + across, bottom, bottom + up), aspect="auto", interpolation="bilinear")
    if frame_color is not None:
        frame = Rectangle((left, bottom), across, up, fill=False, edgecolor=frame_color, linewidth=3, clip_on=False)
        axes.add_patch(frame)
