"""Tables on terminals of several widths and in a pipe: nothing is cut, no word is broken, no name is markup."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from vidcomp.output.terminal import console_of, print_facts, print_table

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
    assert lines == ["HandstandPushups", "  right  0% of 12", "  taken for  BodyWeightSquats (3)"]


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
