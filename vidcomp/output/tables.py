"""Tables for people: whole lines in a pipe, and on a terminal of any width nothing cut and no word broken.

Names come from anywhere: nothing in a cell is taken for markup.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from vidcomp.files import printable

Cell = str | Text
_GAP = "  "
# Words need so many columns to be wrapped in; with fewer, each row is a block of lines.
_LEAST_TEXT = 30


def console_of(stream: TextIO) -> Console:
    """A console that prints what it is given, whatever brackets and colons are in it, and leaves wrapping to us."""
    return Console(file=stream, markup=False, emoji=False, highlight=False, soft_wrap=True)


def print_table(
    console: Console,
    headings: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    right: Iterable[int] = (),
    spare: Iterable[int] = (),
    prose: bool = False,
) -> None:
    """Print rows under headings, none where all headings are empty.

    Where a terminal is too narrow, the columns numbered in ``spare`` are left out, the first one first, until the rest
    fits; if it never does, each row is printed as a block of lines. Columns in ``right`` are aligned to the right. The
    last one is ``prose`` if it may be wrapped.
    """
    shown = list(range(len(headings)))
    cells = [[_text(cell) for cell in row] for row in rows]
    left_out = iter(spare)
    while True:
        widths = [max([cell_len(headings[i]), *(row[i].cell_len for row in cells)]) for i in shown]
        room = console.width - sum(widths[:-1]) - len(_GAP) * (len(shown) - 1)
        if not console.is_terminal or widths[-1] <= room or (prose and room >= _LEAST_TEXT):
            break
        dropped = next(left_out, None)
        if dropped is None:
            _print_blocks(
                console, [headings[i] for i in shown], [[row[i] for i in shown] for row in cells], prose=prose
            )
            return
        shown.remove(dropped)
    if prose and console.is_terminal:
        widths[-1] = min(widths[-1], room)
    aligned = set(right)
    if any(headings):
        cells = [[Text(heading, style="bold") for heading in headings], *cells]
    for row in cells:
        last = row[shown[-1]]
        first, *more = _wrapped(last.plain, widths[-1]) if prose and last.cell_len > widths[-1] else [last]
        line = Text()
        for i, width in zip(shown, widths, strict=True):
            cell = first if i == shown[-1] else row[i]
            filling = " " * (width - cell_len(str(cell)))
            line.append_text(Text.assemble(filling, cell) if i in aligned else Text.assemble(cell, filling))
            line.append(_GAP)
        line.rstrip()
        console.print(line)
        for rest in more:
            console.print(" " * (sum(widths[:-1]) + len(_GAP) * (len(shown) - 1)) + str(rest))


def print_facts(console: Console, facts: Iterable[tuple[str, str]]) -> None:
    """Print names with their values, which are wrapped on a terminal; addresses stay whole."""
    facts = list(facts)
    width = max(len(name) for name, _ in facts) + len(_GAP)
    for name, value in facts:
        lines = [printable(value)]
        if console.is_terminal:
            lines = _wrapped(lines[0], max(_LEAST_TEXT, console.width - width))
        for number, line in enumerate(lines):
            console.print(f"{'' if number else name:{width}}{line}".rstrip())


def _print_blocks(console: Console, headings: Sequence[str], rows: Iterable[Sequence[Text]], *, prose: bool) -> None:
    for first, *rest in rows:
        console.print(first)
        for number, (heading, cell) in enumerate(zip(headings[1:], rest, strict=True)):
            if prose and number == len(rest) - 1:
                for line in _wrapped(cell.plain, console.width - len(_GAP)):
                    console.print(_GAP + line)
            elif cell.plain.strip():
                console.print(Text.assemble(_GAP, f"{heading}{_GAP}" if heading else "", cell))


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(1, width), break_long_words=False, break_on_hyphens=False) or [""]


def _text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else Text(printable(cell))
