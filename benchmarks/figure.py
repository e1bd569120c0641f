"""Draw the README's figure from a real video: its frames, what the compressor attended to, and the way to the tail.

    python -m benchmarks.figure VIDEO --model ucf16-lite0 --output docs/figure.svg

The picture follows the reader's light or dark theme, and asks for nothing from outside.
"""

from __future__ import annotations

import argparse
import base64
import io
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

import vidcomp
from vidcomp.attention import bar_heights, summarize, timeline
from vidcomp.output.explanations import pictures_of
from vidcomp.video import DecodePool

_WIDTH, _STRIP, _FRAMES, _BARS, _BAR_HEIGHT = 880, 840, 10, 84, 44
_STYLE = """
text { font: 15px system-ui, sans-serif; fill: #1f2328 }
.dim { fill: #59636e; font-size: 13px }
.box { fill: #dbeafe; stroke: #0072b2; stroke-width: 1.5 }
.bar { fill: #0072b2 }
.arrow { stroke: #59636e; stroke-width: 1.5 }
.head { fill: #59636e }
.answer { font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .dim { fill: #9da7b1 }
  .box { fill: #12304a; stroke: #56b4e9 }
  .bar { fill: #56b4e9 }
  .arrow { stroke: #9da7b1 }
  .head { fill: #9da7b1 }
}
"""


def figure(video: Path, model: str) -> str:
    """The figure as SVG."""
    with vidcomp.load(model) as classifier:
        prediction = classifier(str(video))
    assert prediction.attention is not None
    found = summarize(prediction.attention, prediction.frames.end_s)
    heights = bar_heights(timeline(found.seconds, found.importance, _BARS, prediction.frames.end_s)) * _BAR_HEIGHT
    step = _STRIP / _BARS
    bars = "".join(
        f'<rect x="{20 + index * step:.1f}" y="{85 + _BAR_HEIGHT - height:.1f}" width="{step - 1:.1f}" '
        f'height="{max(height, 1):.1f}"/>'
        for index, height in enumerate(heights.tolist())
    )
    used, kept = prediction.frames.used, found.effective_frames
    boxes = [
        ("head", f"all {used} frames"),
        ("compressor", f"{prediction.attention.compressor}: time ÷ {_ratio(model)}"),
        ("tail", "what is left"),
    ]
    drawn = ""
    for number, (name, what) in enumerate(boxes):
        left = 20 + number * 215
        drawn += (
            f'<rect class="box" x="{left}" y="174" width="175" height="56" rx="8"/>'
            f'<text x="{left + 87}" y="198" text-anchor="middle">{name}</text>'
            f'<text class="dim" x="{left + 87}" y="218" text-anchor="middle">{escape(what)}</text>'
            f'<path class="arrow" d="M{left + 178} 202h30"/><path class="head" d="M{left + 206} 197l8 5-8 5z"/>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} 250" role="img" aria-label="Frames pass the '
        f'head, the compressor keeps what differs, and the tail names the action"><style>{_STYLE}</style>'
        f'<image x="20" y="10" width="{_STRIP}" height="{_STRIP * 3 // 4 // _FRAMES}" '
        f'href="data:image/jpeg;base64,{_strip(video)}"/>'
        f'<g class="bar">{bars}</g>'
        f'<text class="dim" x="20" y="152">what the compressor attended to: as much as {kept:.0f} frames of '
        f"{len(found.seconds)} would hold</text>{drawn}"
        '<text class="answer" x="668" y="200">the action</text>'
        '<text class="dim" x="668" y="220">named in one pass</text></svg>\n'
    )


def _ratio(model: str) -> str:
    from vidcomp.zoo.manifest import find_manifest

    return "".join(f"{section.options.get('tau', 2):g}" for section in find_manifest(model).compressors[:1])


def _strip(video: Path) -> str:
    """Frames spread evenly over the video, side by side, as JPEG in base64."""
    with DecodePool() as pool:
        frames = pool.probe(str(video), count=False).expected_frames or 1
        wanted = [(2 * part + 1) * frames // (2 * _FRAMES) for part in range(_FRAMES)]
        pictures = pictures_of(str(video), pool, wanted, short_side=96)
    strip = [np.asarray(Image.fromarray(pictures[index]).resize((128, 96))) for index in wanted]
    file = io.BytesIO()
    Image.fromarray(np.concatenate(strip, axis=1)).save(file, "JPEG", quality=70)
    return base64.b64encode(file.getvalue()).decode()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--model", default="ucf16-lite0")
    parser.add_argument("--output", type=Path, default=Path("docs/figure.svg"))
    arguments = parser.parse_args()
    arguments.output.write_text(figure(arguments.video, arguments.model), encoding="utf-8")
