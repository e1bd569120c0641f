"""Pages that need nothing but a browser: the report of a folder's labels, and a comparison of strategies."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from vidcomp.attention import AttendedSegment, bar_heights, timeline
from vidcomp.files import printable, replacing
from vidcomp.output.explanations import pictures_of
from vidcomp.output.plots import PictureError, comparison_picture
from vidcomp.output.run import OutputError, Record
from vidcomp.output.terminal import clock, is_short, moment_text, moments
from vidcomp.video import DecodePool, VideoError

if TYPE_CHECKING:
    from vidcomp.evaluation.comparison import Comparison, Row
    from vidcomp.output.comparison import Column

# A row must stay below 30 kB, so that a thousand of them can be sent and opened: the strip is two thirds of it.
_STRIP_FRAMES, _STRIP_SIDE, _STRIP_BYTES = 8, 64, 12_000
# Steps of the timeline, its height, and that of the marks under attended moments, in units of the drawing.
_CELLS, _HEIGHT, _MARK = 96, 24, 5
# Thumbnails are a few kB each; a comparison must stay small enough to be sent.
_MOST_DISAGREEMENTS, _THUMBNAIL_BYTES = 60, 6_000
_QUALITIES = (85, 70, 50, 30, 15)


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("vidcomp.output"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # What comes from names and files is shown on one line, without characters that act on what is around them.
        finalize=lambda value: printable(value) if type(value) is str else value,
    )


class HtmlReport:
    """Writes a row per video as they come, so that memory does not grow with their number.

    Use it as a context manager: leaving it finishes the page, also for an interrupt; until then an older page of that
    name stays as it was.
    """

    def __init__(self, path: Path, title: str, *, pool: DecodePool | None = None) -> None:
        """Begin the page.

        Raises:
            OutputError: it cannot be written there.
        """
        self._path, self._stack = path, ExitStack()
        try:
            if path.is_dir():
                raise IsADirectoryError(None, "this is a folder")
            new = self._stack.enter_context(replacing(path))
            self._file = self._stack.enter_context(new.open("w", encoding="utf-8"))
        except OSError as error:
            raise OutputError(f"--report {path}: cannot be written ({error.strerror}); choose another file") from None
        self._own = DecodePool()
        self._pool = pool or self._own
        self._parts = cast(Any, _templates().get_template("report.html").module)
        self._file.write(self._parts.begin(title))

    def __enter__(self) -> HtmlReport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._own.close()
        try:
            with self._stack:
                self._file.write(self._parts.end())
        except OSError as failed:
            raise OutputError(
                f"--report {self._path}: writing stopped ({failed.strerror}); the labels themselves are not affected"
            ) from failed

    def add(self, record: Record, video: str) -> None:
        """Add a video's row: its record (:meth:`~vidcomp.inference.prediction.Prediction.to_dict`), and its file.

        Raises:
            OSError: there is no room.
        """
        labels, strip = record["labels"], None if record["error"] else self._strip(record, video)
        self._file.write(
            self._parts.row(
                record=record,
                name=os.fspath(record["path"]),
                best=labels[0] if labels else None,
                strip=_base64(strip),
                timeline=_timeline(record),
                facts=_facts(record),
                found=_found(record),
                player=None if record.get("moments") is None else self._address(video),
                file=self._address(video),
            )
        )

    def _address(self, video: str) -> str | None:
        """Where the page finds a local video: relative to its folder, or absolute on another drive of Windows."""
        if not os.path.exists(video):  # noqa: PTH110 - a path may hold what pathlib refuses
            return None
        try:
            relative = os.path.relpath(video, self._path.parent)
        except ValueError:
            return Path(video).resolve().as_uri()
        return quote(os.fsencode(relative.replace(os.sep, "/")))

    def _strip(self, record: Record, video: str) -> bytes | None:
        """Frames spread evenly over the video, side by side, as a JPEG; ``None`` if they cannot be decoded again."""
        try:
            # What was decoded is what there is; of a video that was passed as clips, the header has to do.
            frames = record["frames"]["decoded"]
            if record["strategy"].startswith("uniform"):
                frames = self._pool.probe(video, count=False).expected_frames or frames
            return _strip_of(video, self._pool, 0, frames)
        except VideoError:
            return None


def _strip_of(video: str, pool: DecodePool, first: float, end: float) -> bytes:
    """Eight frames spread evenly from number ``first`` to ``end``, side by side, as a JPEG; raises VideoError."""
    step = max(1.0, end - first) / _STRIP_FRAMES
    wanted = [int(first + (part + 0.5) * step) for part in range(_STRIP_FRAMES)]
    pictures = pictures_of(video, pool, wanted, short_side=_STRIP_SIDE)
    return _jpeg(np.concatenate([pictures[index] for index in wanted], axis=1), _STRIP_BYTES)


def search_page(example: str, found: Sequence[Mapping[str, Any]]) -> str:
    """A page of the example and what is like it, best first, each as a film strip of the video or the window.

    ``found`` has ``path``, ``file``, ``start_s``, ``end_s``, ``label`` and ``similarity`` of each.
    """
    with DecodePool() as pool:

        def strip(file: str, start_s: float | None, end_s: float | None) -> str | None:
            try:
                info = pool.probe(file, count=False)
                if start_s is None or end_s is None:
                    return _base64(_strip_of(file, pool, 0, info.expected_frames or 1))
                first, end = ((second - info.start_s) * info.fps for second in (start_s, end_s))
                return _base64(_strip_of(file, pool, max(0.0, first), end))
            except VideoError:
                return None

        rows = [(row, strip(row["file"], row["start_s"], row["end_s"])) for row in found]
        own = strip(example, None, None)
    page = _templates().get_template("search.html")
    return page.render(title=f"vidcomp search: {example}", own=own, rows=rows, moment=moment_text)


def _end_s(record: Record) -> float:
    """When the video ends, as far as is known."""
    frames, attention = record["frames"], record["attention"]
    end_s: float = frames.get("start_s", 0.0) + (frames["duration_s"] or 0.0)
    return max(end_s, attention["times_s"][-1]) if attention is not None else end_s


def _moments(record: Record) -> str:
    attended = [AttendedSegment(**part) for part in record["attention"]["attended"]]
    return moments(attended, _end_s(record))


def _timeline(record: Record) -> dict[str, object] | None:
    """The drawing of attention over time: its outline, and marks under attended moments."""
    attention, frames = record["attention"], record["frames"]
    if attention is None:
        return None
    end_s = None if frames["duration_s"] is None else frames.get("start_s", 0.0) + frames["duration_s"]
    values = timeline(attention["times_s"], attention["importance"], _CELLS, end_s)
    heights = (bar_heights(values) * _HEIGHT).round().astype(int).tolist()
    end = _end_s(record) or 1.0
    marks = ((part["start_s"] / end * _CELLS, part["end_s"] / end * _CELLS) for part in attention["attended"])
    return {
        "width": _CELLS,
        "height": _HEIGHT + _MARK,
        "moments": _moments(record),
        "outline": f"M0 {_HEIGHT}"
        + "".join(f"V{_HEIGHT - height}H{cell}" for cell, height in enumerate(heights, start=1))
        + f"V{_HEIGHT}z",
        "marks": "".join(f"M{left:.1f} {_HEIGHT}H{right:.1f}v{_MARK}H{left:.1f}z" for left, right in marks),
    }


def _found(record: Record) -> list[dict[str, object]] | None:
    """The moments as marks on a line as long as the video: from and to in percent, and what to say of them."""
    if record.get("moments") is None:
        return None
    end_s = _end_s(record) or 1.0
    tenths = is_short(end_s)
    return [
        {
            "left": 100 * part["start_s"] / end_s,
            "width": 100 * (part["end_s"] - part["start_s"]) / end_s,
            "at": part["start_s"],
            "label": part["label"],
            "text": f"{clock(part['start_s'], tenths=tenths)}–{clock(part['end_s'], tenths=tenths)} "
            f"{part['label']} {part['probability']:.0%}",
        }
        for part in record["moments"]
    ]


def _facts(record: Record) -> list[str]:
    frames, attention = record["frames"], record["attention"]
    seconds = frames["duration_s"]
    facts = [] if seconds is None else [clock(seconds, tenths=is_short(seconds))]
    facts.append(f"{frames['decoded']} frames")
    if attention is not None:
        facts.append(f"attended {_moments(record)}")
        facts.append(f"{attention['compressor']}: {attention['effective_frames']:.0f} of {len(attention['times_s'])}")
    return facts


def comparison_page(comparison: Comparison) -> str:
    """The whole page, readable on a phone and in print, without scripts.

    Thumbnails of videos on which strategies disagree are decoded from their files.
    """
    from vidcomp.output.comparison import interval_text, machine_line, ratio_text, remarks, shown_columns, size_line

    plot, no_plot = None, ""
    try:
        plot = Markup(_themed(comparison_picture(comparison, "svg").decode()))
    except PictureError as error:
        no_plot = str(error)
    disagreed = [video for video in comparison.videos if video.disagreement]
    with DecodePool() as pool:
        cards = [
            (video, Path(os.fspath(video.path)).name, _base64(_thumbnail(video.path, pool)))
            for video in disagreed[:_MOST_DISAGREEMENTS]
        ]
    return (
        _templates()
        .get_template("comparison.html")
        .render(
            title=f"vidcomp compare: {comparison.model}",
            comparison=comparison,
            machine=machine_line(comparison),
            size=size_line(comparison),
            columns=shown_columns(comparison),
            ratio_text=ratio_text,
            interval_text=interval_text,
            tone=_tone,
            remarks=remarks(comparison),
            plot=plot,
            no_plot=no_plot,
            cards=cards,
            disagreements=len(disagreed),
            labeled=any(answer.label for video in comparison.videos for answer in video.answers.values()),
        )
    )


def _themed(svg: str) -> str:
    """A drawing as part of a page, whose colors of text and background it takes."""
    drawing = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    for ink, color in (("#000000", "currentColor"), ("#444444", "currentColor"), ("#ffffff", "var(--page)")):
        drawing = drawing.replace(f": {ink}", f": {color}")
    return drawing


def _tone(row: Row, column: Column) -> str:
    """Whether a ratio that the measurements can tell from 1 is good or bad."""
    if column.ratio is None or column.ratio in row.noisy or row.ratios[column.ratio].value == 1:
        return ""
    return "good" if row.ratios[column.ratio].value > 1 else "bad"


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _thumbnail(path: str, pool: DecodePool) -> bytes | None:
    """A JPEG of the video's middle frame, 96 pixels on its shorter side; ``None`` if it cannot be decoded."""
    try:
        middle = (pool.probe(path, count=False).expected_frames or 1) // 2
        return _jpeg(pictures_of(path, pool, [middle])[middle], _THUMBNAIL_BYTES)
    except VideoError:
        return None


def _jpeg(pixels: NDArray[np.uint8], most_bytes: int) -> bytes:
    """Encode a picture (H, W, 3), in a quality that lets it fit into ``most_bytes`` if any does."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    for quality in _QUALITIES:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        if file.tell() <= most_bytes:
            break
    return file.getvalue()
