"""Attention on a terminal: one line with a small timeline and the moments that stand out."""

from __future__ import annotations

from rich.text import Text

from vidcomp.attention.summary import ATTENDED, AttendedSegment, AttentionSummary
from vidcomp.attention.timeline import timeline

_HEADING = "attention  "
_BLOCKS, _ASCII = "▁▂▃▄▅▆▇█", "_.:-=+*#"
_CELLS_LEAST, _CELLS_MOST = 16, 60
_MOMENTS = 3
# Of a video shorter than this, times are told to a tenth of a second.
_SHORT_S = 60.0
# Full height is this importance at least, so that even attention draws a line at half height, not a full bar.
_FULL = 2.0


def attention_line(summary: AttentionSummary, end_s: float | None, width: int, *, unicode: bool) -> Text:
    """The line for a terminal of ``width`` columns; in ASCII without ``unicode``.

    Height and colour are importance: grey for little, cyan about the mean, yellow for attended. After the timeline come
    the moments with the greatest mass, in order of time: as many as fit, one at least and three at most.
    """
    length = end_s if end_s is not None else summary.seconds[-1]
    texts = [_moments(summary, count, length, unicode=unicode) for count in range(_MOMENTS, 0, -1)]
    room = width - len(_HEADING) - 2
    moments = next((text for text in texts if room - len(text) >= _CELLS_LEAST), texts[-1])
    cells = max(_CELLS_LEAST, min(_CELLS_MOST, room - len(moments)))
    line = Text().append(_HEADING, style="dim")
    values = timeline(summary.seconds, summary.importance, cells, end_s)
    glyphs = _BLOCKS if unicode else _ASCII
    for value in values.tolist():
        level = min(len(glyphs) - 1, int(value / max(_FULL, values.max()) * len(glyphs)))
        line.append(glyphs[level], style=_colour(value))
    return line.append(f"  {moments}")


def clock(seconds: float, *, tenths: bool = False) -> str:
    """A time as m:ss, h:mm:ss from an hour on, or with tenths of a second."""
    count = round(seconds * 10) if tenths else round(seconds) * 10
    whole, tenth = divmod(count, 10)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    text = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"{text}.{tenth}" if tenths else text


def moment(part: AttendedSegment, length_s: float, *, dash: str = "–") -> str:
    """A segment of a video of ``length_s`` seconds in words: "0:03–0:05 41%"."""
    tenths = length_s < _SHORT_S
    start, end = clock(part.start_s, tenths=tenths), clock(part.end_s, tenths=tenths)
    return f"{start if start == end else start + dash + end} {part.mass:.0%}"


def _moments(summary: AttentionSummary, count: int, length_s: float, *, unicode: bool) -> str:
    if not summary.attended:
        return "no moment stands out"
    shown = sorted(sorted(summary.attended, key=lambda part: -part.mass)[:count], key=lambda part: part.start_s)
    text = ", ".join(moment(part, length_s, dash="–" if unicode else "-") for part in shown)
    more = len(summary.attended) - count
    return f"{text}, {more} more" if more > 0 else text


def _colour(importance: float) -> str:
    if importance >= ATTENDED:
        return "bold yellow"
    return "cyan" if importance >= 0.5 else "bright_black"
