"""Attention on a terminal: one line with a small timeline and the moments that stand out."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from vidcomp.attention import ABOUT_MEAN, ATTENDED, AttendedSegment, AttentionSummary, bar_heights, timeline

_HEADING = "attention  "
_BLOCKS, _ASCII = "▁▂▃▄▅▆▇█", "_.:-=+*#"
_CELLS_LEAST, _CELLS_MOST = 16, 60
_MOMENTS = 3


def attention_line(summary: AttentionSummary, end_s: float | None, width: int, *, unicode: bool) -> Text:
    """The line for a terminal of ``width`` columns; in ASCII without ``unicode``.

    Height and colour are importance: grey for little, cyan about the mean, yellow for attended. After the timeline come
    the moments with the greatest mass, in order of time: as many as fit, one at least and three at most.
    """
    length = end_s if end_s is not None else summary.seconds[-1]
    dash = "–" if unicode else "-"
    texts = [moments(summary.attended, length, count, dash=dash) for count in range(_MOMENTS, 0, -1)]
    room = width - len(_HEADING) - 2
    text = next((text for text in texts if room - len(text) >= _CELLS_LEAST), texts[-1])
    cells = max(_CELLS_LEAST, min(_CELLS_MOST, room - len(text)))
    line = Text().append(_HEADING, style="dim")
    values = timeline(summary.seconds, summary.importance, cells, end_s)
    glyphs = _BLOCKS if unicode else _ASCII
    for value, height in zip(values.tolist(), bar_heights(values).tolist(), strict=True):
        line.append(glyphs[min(len(glyphs) - 1, int(height * len(glyphs)))], style=_colour(value))
    return line.append(f"  {text}")


def clock(seconds: float, *, tenths: bool = False) -> str:
    """A time as m:ss, h:mm:ss from an hour on, or with tenths of a second."""
    count = round(seconds * 10) if tenths else round(seconds) * 10
    whole, tenth = divmod(count, 10)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    text = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"{text}.{tenth}" if tenths else text


def is_short(length_s: float) -> bool:
    """Whether a video is so short that its times are told to a tenth of a second."""
    return length_s < 60


def moments(attended: Sequence[AttendedSegment], length_s: float, most: int = _MOMENTS, *, dash: str = "–") -> str:
    """The moments of a video of ``length_s`` seconds with the greatest mass, in order of time: "0:03–0:05 41%"."""
    if not attended:
        return "no moment stands out"
    tenths, texts = is_short(length_s), []
    largest = sorted(attended, key=lambda part: -part.mass)[:most]
    for part in sorted(largest, key=lambda part: part.start_s):
        start, end = clock(part.start_s, tenths=tenths), clock(part.end_s, tenths=tenths)
        texts.append(f"{start if start == end else start + dash + end} {part.mass:.0%}")
    more = len(attended) - len(largest)
    return ", ".join(texts) + (f", {more} more" if more else "")


def _colour(importance: float) -> str:
    if importance >= ATTENDED:
        return "bold yellow"
    return "cyan" if importance >= ABOUT_MEAN else "bright_black"
