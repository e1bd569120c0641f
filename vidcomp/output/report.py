"""Labels of a folder as one HTML file that needs nothing else: frames, attention over time, labels, errors."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable
from contextlib import ExitStack
from html import escape
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from vidcomp.attention.timeline import timeline
from vidcomp.files import printable, replacing
from vidcomp.output.formats import Record
from vidcomp.output.places import OutputError
from vidcomp.output.sparkline import clock
from vidcomp.output.thumbnails import jpeg, pictures_of
from vidcomp.video import DecodeWorker, VideoError

# A row must stay below 30 kB, so that a thousand of them can be sent and opened: the strip is two thirds of it.
_STRIP_FRAMES, _STRIP_SIDE, _STRIP_BIT_RATE = 8, 64, 80_000
# Steps of the timeline, its height, and that of the marks under attended moments, in units of the drawing.
_CELLS, _HEIGHT, _MARK = 96, 24, 5
_LABELS, _MOMENTS = 5, 3
_NOTHING_FROM_OUTSIDE = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


class HtmlReport:
    """Writes a row a video as they come, so that memory does not grow with their number.

    Use it as a context manager: leaving it finishes the page, also for an interrupt; until then an older page of that
    name stays as it was.
    """

    def __init__(self, path: Path, title: str) -> None:
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
        self._worker = DecodeWorker()
        self._write(_head(title))

    def __enter__(self) -> HtmlReport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._worker.close()
        try:
            with self._stack:
                self._write(_tail())
        except OSError as failed:
            raise OutputError(
                f"--report {self._path}: writing stopped ({failed.strerror}); the labels themselves are not affected"
            ) from failed

    def add(self, record: Record, video: str) -> None:
        """Add a video's row: its record (``vidcomp.output.record``), and the file to take frames from.

        Raises:
            OSError: there is no room.
        """
        strip = None if record["error"] else self._strip(record, video)
        self._write(_row(record, strip))

    def _write(self, text: str) -> None:
        self._file.write(text)

    def _strip(self, record: Record, video: str) -> bytes | None:
        """Frames spread evenly over the video, side by side, as a JPEG; ``None`` if they cannot be decoded again."""
        try:
            # What was decoded is what there is; of a video that was passed as clips, the header has to do.
            frames = record["frames"]["decoded"]
            if record["strategy"].startswith("uniform"):
                frames = self._worker.probe(video, count=False).expected_frames or frames
            wanted = [(2 * part + 1) * max(1, frames) // (2 * _STRIP_FRAMES) for part in range(_STRIP_FRAMES)]
            pictures = pictures_of(video, self._worker, wanted, short_side=_STRIP_SIDE)
        except VideoError:
            return None
        return jpeg(np.concatenate([pictures[index] for index in wanted], axis=1), _STRIP_BIT_RATE)


def _head(title: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_NOTHING_FROM_OUTSIDE}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(printable(title))}</title><style>{_resource('report.css')}</style></head>\n<body>\n"
        '<a class="skip" href="#videos">Skip to the videos</a>\n'
        f"<header><h1>{escape(printable(title))}</h1>\n{_resource('report_controls.html')}</header>\n"
        '<main><ul id="videos" tabindex="-1" aria-label="Videos">\n'
    )


def _tail() -> str:
    return f"</ul></main>\n<script>{_resource('report.js')}</script>\n</body></html>\n"


def _resource(name: str) -> str:
    return files("vidcomp.output").joinpath(name).read_text(encoding="utf-8")


def _row(record: Record, strip: bytes | None) -> str:
    name, error, labels = printable(os.fspath(record["path"])), record["error"], record["labels"]
    best = labels[0] if labels else None
    data = {
        "name": name,
        "label": best["label"] if best else "",
        "probability": f"{best['probability']:.4f}" if best else "",
        "seconds": "" if record["frames"]["duration_s"] is None else f"{record['frames']['duration_s']:.2f}",
        "error": error["kind"] if error else "",
    }
    attributes = "".join(f' data-{key}="{escape(value)}"' for key, value in data.items())
    if error:
        body = f'<p class="error"><strong>{escape(error["kind"])}</strong> {escape(printable(error["message"]))}</p>'
    else:
        body = _film(record, strip) + _labels(labels) + _facts(record)
    notes = "".join(f'<p class="note">{escape(printable(note))}</p>' for note in record["notes"])
    return f"<li{attributes}><h2>{escape(name)}</h2>{body}{notes}</li>\n"


def _film(record: Record, strip: bytes | None) -> str:
    if strip is None:
        picture = '<p class="note">(no pictures: the frames could not be decoded again)</p>'
    else:
        source = f"data:image/jpeg;base64,{base64.b64encode(strip).decode()}"
        picture = f'<img alt="Frames spread evenly over the video" loading="lazy" decoding="async" src="{source}">'
    return f'<div class="film">{picture}{_timeline(record)}</div>'


def _timeline(record: Record) -> str:
    attention, frames = record["attention"], record["frames"]
    if attention is None:
        return ""
    duration_s = frames["duration_s"]
    end_s = None if duration_s is None else frames.get("start_s", 0.0) + duration_s
    values = timeline(attention["times_s"], attention["importance"], _CELLS, end_s)
    heights = (values / max(2.0, values.max()) * _HEIGHT).round().astype(int).tolist()
    outline = "".join(f"V{_HEIGHT - height}H{cell}" for cell, height in enumerate(heights, start=1))
    end = max(end_s or 0.0, attention["times_s"][-1]) or 1.0
    marks = "".join(
        f"M{part['start_s'] / end * _CELLS:.1f} {_HEIGHT}H{part['end_s'] / end * _CELLS:.1f}v{_MARK}"
        f"H{part['start_s'] / end * _CELLS:.1f}z"
        for part in attention["attended"]
    )
    return (
        f'<svg viewBox="0 0 {_CELLS} {_HEIGHT + _MARK}" preserveAspectRatio="none" role="img" '
        f'aria-label="Attention over time: {escape(_moments(record))}">'
        f'<path class="attended" d="{marks}"/><path class="importance" d="M0 {_HEIGHT}{outline}V{_HEIGHT}z"/></svg>'
    )


def _moments(record: Record) -> str:
    """The moments with the greatest mass in words, in order of time."""
    segments = record["attention"]["attended"]
    if not segments:
        return "no moment stands out"
    tenths = (record["frames"]["duration_s"] or 0.0) < 60
    largest = sorted(segments, key=lambda part: -part["mass"])[:_MOMENTS]
    shown = ", ".join(
        f"{clock(part['start_s'], tenths=tenths)}–{clock(part['end_s'], tenths=tenths)} {part['mass']:.0%}"
        for part in sorted(largest, key=lambda part: part["start_s"])
    )
    return shown + (f", {len(segments) - len(largest)} more" if len(segments) > len(largest) else "")


def _labels(labels: Iterable[dict[str, Any]]) -> str:
    rows = "".join(
        f'<li><span>{escape(printable(label["label"]))}</span><i style="--p:{label["probability"]:.1%}"></i>'
        f"<span>{label['probability']:.1%}</span></li>"
        for label in list(labels)[:_LABELS]
    )
    return f'<ol class="labels">{rows}</ol>' if rows else '<p class="note">no label is probable enough</p>'


def _facts(record: Record) -> str:
    frames, attention = record["frames"], record["attention"]
    facts = [] if frames["duration_s"] is None else [clock(frames["duration_s"], tenths=frames["duration_s"] < 60)]
    facts.append(f"{frames['decoded']} frames")
    if attention is not None:
        facts.append(f"attended {_moments(record)}")
        facts.append(f"{attention['compressor']}: {attention['effective_frames']:.0f} of {len(attention['times_s'])}")
    return f'<p class="facts">{escape(" · ".join(facts))}</p>'
