"""What a batch came to, and how it is getting on, in a few plain lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from vidcomp.files import printable
from vidcomp.inference.batch import RunStats

_LABELS_SHOWN = 25


def summary(tally: RunStats) -> str:
    """How many videos were labelled, by label, and how many failed, by kind of error."""
    labelled, failed = sum(tally.labels.values()), sum(tally.errors.values())
    facts = [f"{labelled} labelled", f"{failed} failed"]
    facts += [f"{tally.known} of them done before"] if tally.known else []
    facts += [f"{tally.passed_over} passed over: no videos"] if tally.passed_over else []
    facts += [f"{_duration(tally.elapsed_s)}, {_pace(tally)}"] if tally.done else []
    lines = [", ".join(facts)]
    if tally.labels:
        lines += _counts("label", ((label or "(none probable enough)", n) for label, n in _common(tally.labels)))
    if tally.errors:
        lines += _counts("error", _common(tally.errors))
    return "\n".join(lines)


def progress_line(tally: RunStats) -> str:
    """Done, failed, pace, time left, and what it is that takes the time."""
    left = tally.left_s
    facts = [f"{tally.done + tally.passed_over} of {tally.total} done", f"{tally.failed} failed"]
    if tally.done:
        facts.append(_pace(tally))
    if left is not None:
        facts.append(f"{_duration(left)} left")
    return ", ".join(facts)


def _pace(tally: RunStats) -> str:
    elapsed = max(tally.elapsed_s, 1e-9)
    return f"{tally.done / elapsed:.3g} videos/s, {tally.frames / elapsed:.3g} frames/s, {tally.bound}-bound"


def _common(counts: Counter[str | None] | Counter[str]) -> list[tuple[str | None, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0] or ""))


def _counts(heading: str, counts: Iterable[tuple[str | None, int]]) -> list[str]:
    rows = [(printable(name or ""), str(number)) for name, number in counts]
    more = len(rows) - _LABELS_SHOWN
    rows = [(heading, "videos"), *rows[:_LABELS_SHOWN]]
    width = max(len(name) for name, _ in rows)
    lines = [f"  {name:<{width}}  {number:>6}" for name, number in rows]
    return [*lines, f"  … and {more} more"] if more > 0 else lines


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
