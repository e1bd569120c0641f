"""A comparison as one HTML file that needs nothing else: readable on a phone and in print, without scripts."""

from __future__ import annotations

import base64
import os
from html import escape
from pathlib import Path

from vidcomp.evaluation.comparison import Comparison, Row, VideoResult
from vidcomp.files import printable
from vidcomp.output import comparison_plot
from vidcomp.output.comparison import COLUMNS, machine_line, ratio_text, remarks, shown_columns
from vidcomp.output.plotting import PictureError
from vidcomp.output.thumbnails import thumbnail
from vidcomp.video import DecodeWorker

# Thumbnails are a few kB each; a report must stay small enough to be sent.
_MOST_DISAGREEMENTS = 60

_STYLE = """
:root { color-scheme: light dark; --line: #8885; --dim: #777; --good: #0a7d4b; --bad: #b3261e; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.dim, small { color: var(--dim); } .good { color: var(--good); } .bad { color: var(--bad); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th { font-weight: 600; } th:first-child, td:first-child { text-align: left; }
td small { display: block; }
img.plot { width: 100%; max-width: 60rem; background: #fff; }
.videos { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; }
.video { border: 1px solid var(--line); border-radius: .4rem; padding: .6rem; break-inside: avoid; overflow: hidden; }
.video img { height: 96px; max-width: 100%; display: block; border-radius: .2rem; margin-bottom: .4rem; }
.video p { margin: 0; overflow-wrap: anywhere; } .video dl { margin: .3rem 0 0; font-size: .9rem; }
.video dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 .6rem; } dd { margin: 0; }
@media (max-width: 48rem) {
  table.rows thead { display: none; }
  table.rows, table.rows tbody, table.rows tr, table.rows td { display: block; }
  table.rows tr { border: 1px solid var(--line); border-radius: .4rem; margin-bottom: .8rem; padding: .2rem .4rem; }
  table.rows td { display: flex; justify-content: space-between; gap: 1rem; border: 0; padding: .15rem .3rem; }
  table.rows td::before { content: attr(data-name); color: var(--dim); text-align: left; }
  table.rows td:first-child { font-weight: 600; } table.rows td:first-child::before { content: none; }
}
@media print { body { max-width: none; font-size: 9pt; padding: 0; } th, td { padding: .2rem .3rem; } }
"""


def html_report(comparison: Comparison) -> str:
    """The whole report; thumbnails of videos on which strategies disagree are decoded from their files."""
    title = f"vidcomp compare: {comparison.model}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="dim">{len(comparison.videos)} video(s), {comparison.rounds} round(s). '
        f"{escape(machine_line(comparison))}</p>",
        _table(comparison),
        "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in remarks(comparison)) + "</ul>",
        _picture(comparison),
        _disagreements(comparison),
        _definitions(comparison),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _table(comparison: Comparison) -> str:
    columns = shown_columns(comparison)
    head = "".join(f"<th>{escape(column.heading)}</th>" for column in columns)
    body = "".join(f"<tr>{_cells(comparison, row)}</tr>" for row in comparison.rows)
    return f'<table class="rows"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cells(comparison: Comparison, row: Row) -> str:
    cells = []
    for column in shown_columns(comparison):
        ratio = ratio_text(row, column) if row.strategy != comparison.reference else ""
        small = ""
        if ratio and column.ratio is not None:
            colour = ""
            if column.ratio not in row.noisy and row.ratios[column.ratio].value != 1:
                colour = "good" if row.ratios[column.ratio].value > 1 else "bad"
            small = f'<small class="{colour}">{escape(ratio)}</small>'
        cells.append(f'<td data-name="{escape(column.heading)}"><span>{escape(column.cell(row))}{small}</span></td>')
    return "".join(cells)


def _picture(comparison: Comparison) -> str:
    """The picture as a data URI, or the reason why there is none."""
    try:
        data = comparison_plot.draw(comparison, "svg")
    except PictureError as error:
        return f'<p class="dim">No picture: {escape(str(error))}.</p>'
    source = f"data:image/svg+xml;base64,{base64.b64encode(data).decode()}"
    return f'<h2>Quality against cost</h2><img class="plot" alt="quality against GMACs and time" src="{source}">'


def _disagreements(comparison: Comparison) -> str:
    """The videos on which strategies say different things, or something else than the video's class."""
    videos = [video for video in comparison.videos if video.disagreement]
    if not videos:
        said = any(answer.label for video in comparison.videos for answer in video.answers.values())
        return "<h2>Disagreements</h2><p>None: all strategies say the same of every video.</p>" if said else ""
    with DecodeWorker() as worker:
        cards = "".join(_card(video, worker) for video in videos[:_MOST_DISAGREEMENTS])
    more = len(videos) - _MOST_DISAGREEMENTS
    rest = f'<p class="dim">… and {more} more; --format json lists all.</p>' if more > 0 else ""
    return (
        f"<h2>Disagreements: {len(videos)} of {len(comparison.videos)} videos</h2>"
        f'<div class="videos">{cards}</div>{rest}'
    )


def _card(video: VideoResult, worker: DecodeWorker) -> str:
    data = thumbnail(video.path, worker)
    image = (
        f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'
        if data is not None
        else '<p class="dim">(no picture)</p>'
    )
    name = printable(Path(os.fspath(video.path)).name)
    truth = f' <span class="dim">({escape(printable(video.label))})</span>' if video.label is not None else ""
    lines = []
    for strategy, answer in video.answers.items():
        if answer.label is None:
            said = f'<span class="dim">{escape(printable(answer.error) if answer.error else "no label")}</span>'
        else:
            right = "" if video.label is None else "good" if answer.label == video.label else "bad"
            best = escape(printable(answer.label))
            said = f'<span class="{right}">{best}</span> <span class="dim">{answer.probability:.0%}</span>'
        lines.append(f"<dt>{escape(strategy)}</dt><dd>{said}</dd>")
    return f'<div class="video">{image}<p>{escape(name)}{truth}</p><dl>{"".join(lines)}</dl></div>'


def _definitions(comparison: Comparison) -> str:
    shown = shown_columns(comparison)
    lines = "".join(
        f"<li><b>{escape(column.heading)}</b>: {escape(column.meaning)}</li>" for column in COLUMNS if column in shown
    )
    return f"<h2>What the columns mean</h2><ul>{lines}</ul>"
