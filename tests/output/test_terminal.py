"""What people read on a terminal: tables that fit it, and the line of attention under the labels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console
from rich.text import Text

from vidcomp.attention import AttentionMap, AttentionSummary, summarize
from vidcomp.output.terminal import attention_line, clock, console_of, print_facts, print_table, print_text

PATH = "holidays/a folder/clip of the sea 1.mp4"
NAMES = ("[red]", "[/b]", ":fire:", "[link=x]y[/link]", "back\\")
ADDRESS = "https://example.org/" + "x" * 70 + ".pyth"


def printed(width: int | None, *args: object, facts: bool = False, **options: object) -> list[str]:
    """The lines on a terminal of that width, or in a pipe."""
    stream = io.StringIO()
    console = console_of(stream)
    if width is not None:
        options_of = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}
        console = Console(file=stream, width=width, force_terminal=True, color_system=None, **options_of)
    (print_facts if facts else print_table)(console, *args, **options)  # type: ignore[arg-type,operator]
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 200, None])
def test_names_and_numbers_are_whole_at_any_width(width: int | None) -> None:
    rows = [(PATH, name, "99.0%", "█" * 20) for name in NAMES]
    lines = printed(width, ("video", "label", "probability", ""), rows, right=(2,), spare=(3,))
    assert sum(PATH in line for line in lines) == len(NAMES)
    for name in NAMES:
        assert sum(name in line for line in lines) == 1
    assert sum("99.0%" in line for line in lines) == len(NAMES)
    assert all(len(line) <= (width or 1000) for line in lines)
    assert not any(line.endswith(" ") for line in lines)
    bars = sum("█" * 20 in line for line in lines)
    assert bars == (len(NAMES) if width in (200, None) else 0)
    assert sum("█" in line for line in lines) == bars


def test_columns_stand_under_their_headings() -> None:
    rows = [("a.mp4", "jump", "5.0%"), ("日本.mp4", "swim", "100.0%")]
    assert printed(80, ("video", "label", "probability"), rows, right=(2,)) == [
        "video     label  probability",
        "a.mp4     jump          5.0%",
        "日本.mp4  swim        100.0%",
    ]


def test_where_nothing_fits_a_row_is_a_block() -> None:
    lines = printed(24, ("class", "right", "taken for"), [("HandstandPushups", "0% of 12", "BodyWeightSquats (3)")])
    assert lines == ["HandstandPushups", "  right      0% of 12", "  taken for  BodyWeightSquats (3)"]


def test_a_paragraph_is_wrapped_between_words_on_a_terminal_and_one_line_elsewhere() -> None:
    sentence = "ucf16-lite0, sfc: 4 videos, top-1 100.0%, calibration error 0.034"
    for width, lines in ((30, 3), (None, 1)):
        stream = io.StringIO()
        console = console_of(stream)
        if width:
            console = Console(file=stream, width=width, force_terminal=True, color_system=None, soft_wrap=True)
        print_text(console, sentence, "dim")
        assert stream.getvalue().split() == sentence.split()
        assert stream.getvalue().count("\n") == lines


def test_prose_is_wrapped_between_words() -> None:
    rows = [("slow", "none", "a long sentence of many short words that goes on and on until it ends")]
    for width in (30, 60, None):
        lines = printed(width, ("model", "weights", "what it is"), rows, prose=True)
        assert "goes" in " ".join(lines).split()
        assert all(len(line) <= (width or 1000) for line in lines)
    assert len(lines) == 2


@pytest.mark.parametrize("width", [40, 80, None])
def test_addresses_are_never_cut(width: int | None) -> None:
    lines = printed(width, [("summary", "word " * 30), ("source", ADDRESS), ("[dim]", "[/b]")], facts=True)
    assert sum(line.endswith(ADDRESS) for line in lines) == 1
    assert any(line.split() == ["[dim]", "[/b]"] for line in lines)


def test_no_rows_are_only_headings_and_control_characters_are_shown() -> None:
    assert printed(80, ("a", "b"), []) == ["a  b"]
    assert printed(None, ("", ""), [("a\nb", "\x1b[2J")]) == ["a\\nb  \\x1b[2J"]


def summary(columns: list[float], step_s: float = 1.0) -> AttentionSummary:
    weights = np.array([columns], np.float32)
    return summarize(AttentionMap("sfc", weights, np.arange(len(columns)) * step_s))


def shown(line: Text, **options: object) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200, **options).print(line)  # type: ignore[arg-type]
    return stream.getvalue()


def test_sixteen_steps_of_sixteen_frames() -> None:
    """Importance 6, 6 and 4 at seconds 3, 4 and 9; each step shows half of two neighbors: 0, 0, 3, 6, 3, …, 2, 2."""
    columns = [0.0] * 16
    columns[3] = columns[4] = 6
    columns[9] = 4
    line = attention_line(summary(columns), 16.0, 54, unicode=True)
    assert line.plain == "attention  ▁▁▅█▅▁▁▁▃▃▁▁▁▁▁▁  0:02.5–0:04.5 75%, 1 more"
    timeline, moment = attention_line(summary(columns), 16.0, 40, unicode=True).plain.split("\n")
    assert timeline.startswith("attention  ▁")
    assert len(timeline) == 40
    assert moment == "           0:02.5–0:04.5 75%, 1 more"
    wide = attention_line(summary(columns), 16.0, 200, unicode=False).plain
    assert wide.endswith("  0:02.5-0:04.5 75%, 0:08.5-0:09.5 25%")
    assert wide.isascii()


def test_color_tells_what_height_tells_and_is_left_out_where_unwanted(monkeypatch: pytest.MonkeyPatch) -> None:
    line = attention_line(summary([0, 0, 0, 4] * 4), None, 80, unicode=True)
    assert {str(span.style) for span in line.spans} >= {"bold yellow", "bright_black"}
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1;33m" in shown(line, force_terminal=True, color_system="standard")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "33m" not in shown(line, force_terminal=True, color_system="standard")
    assert "\x1b" not in shown(line, force_terminal=False)


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
