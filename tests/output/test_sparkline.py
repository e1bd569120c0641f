"""The line under the labels: what it shows, and what is left of it without colour or Unicode."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console
from rich.text import Text

from vidcomp.attention import AttentionMap, AttentionSummary, summarise
from vidcomp.output.terminal import attention_line, clock


def summary(columns: list[float], step_s: float = 1.0) -> AttentionSummary:
    weights = np.array([columns], np.float32)
    return summarise(AttentionMap("sfc", weights, np.arange(len(columns)) * step_s))


def printed(line: Text, **options: object) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200, **options).print(line)  # type: ignore[arg-type]
    return stream.getvalue()


def test_sixteen_steps_of_sixteen_frames() -> None:
    """Importance 6, 6 and 4 at seconds 3, 4 and 9; each step shows half of two neighbours: 0, 0, 3, 6, 3, …, 2, 2."""
    columns = [0.0] * 16
    columns[3] = columns[4] = 6
    columns[9] = 4
    line = attention_line(summary(columns), 16.0, 40, unicode=True)
    assert line.plain == "attention  ▁▁▅█▅▁▁▁▃▃▁▁▁▁▁▁  0:02.5–0:04.5 75%, 1 more"
    wide = attention_line(summary(columns), 16.0, 200, unicode=False).plain
    assert wide.endswith("  0:02.5-0:04.5 75%, 0:08.5-0:09.5 25%")
    assert wide.isascii()


def test_colour_tells_what_height_tells_and_is_left_out_where_unwanted(monkeypatch: pytest.MonkeyPatch) -> None:
    line = attention_line(summary([0, 0, 0, 4] * 4), None, 80, unicode=True)
    assert {str(span.style) for span in line.spans} >= {"bold yellow", "bright_black"}
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1;33m" in printed(line, force_terminal=True, color_system="standard")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "33m" not in printed(line, force_terminal=True, color_system="standard")
    assert "\x1b" not in printed(line, force_terminal=False)


def test_even_attention_says_so() -> None:
    line = attention_line(summary([1.0] * 20), 20.0, 80, unicode=True).plain
    assert line.endswith("  no moment stands out")
    assert set(line.removeprefix("attention  ").split()[0]) == {"▅"}


def test_moments_give_way_to_width_and_are_counted() -> None:
    columns = [0.0, 0.0, 3.0, 0.0] * 10
    assert attention_line(summary(columns, 60.0), None, 100, unicode=True).plain.count("%") == 3
    narrow = attention_line(summary(columns, 60.0), None, 50, unicode=True).plain
    assert narrow.count("%") == 1
    assert narrow.endswith(", 9 more")
    assert "1:30–2:30 10%" in narrow


@pytest.mark.parametrize(
    ("seconds", "tenths", "expected"),
    [
        (0, False, "0:00"),
        (59.6, False, "1:00"),
        (3599, False, "59:59"),
        (3661, False, "1:01:01"),
        (3.14, True, "0:03.1"),
        (59.96, True, "1:00.0"),
    ],
)
def test_clock(seconds: float, tenths: bool, expected: str) -> None:
    assert clock(seconds, tenths=tenths) == expected
