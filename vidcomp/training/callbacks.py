"""Who is told how a training goes. This one hears everything and says nothing."""

from __future__ import annotations

from vidcomp.training.trainer import Progress


class Callbacks:
    """Override what is of interest."""

    def note(self, line: str) -> None:
        """A remark."""

    def skipped(self, line: str) -> None:
        """A video that cannot be read, and why."""

    def begin(self, what: str, total: int) -> None:
        """Something with so many steps begins."""

    def advance(self) -> None:
        """One of them is done."""

    def step(self, progress: Progress) -> None:
        """A step of the optimizer is done."""

    def epoch(self, row: dict[str, float]) -> None:
        """An epoch is done; ``row`` is its line of the log."""

    def stopping(self) -> bool:
        """Whether training is to stop as soon as nothing is half done."""
        return False
