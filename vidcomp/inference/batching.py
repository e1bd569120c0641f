"""How many clips pass a network together: as many as are worth it, fewer once memory does not suffice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from vidcomp.inference.memory import is_out_of_memory, trim_memory

Item = TypeVar("Item")
Result = TypeVar("Result")


class BatchSize:
    """The number of items worked on together, halved for good whenever there is not memory enough."""

    def __init__(self, most: int) -> None:
        self.most = most

    def run(self, items: Sequence[Item], work: Callable[[Sequence[Item]], Result]) -> Iterator[Result]:
        """Do all items, in order and in groups, yielding each group's result.

        Raises:
            Exception: what ``work`` raises; of lacking memory, if that is for a single item.
        """
        start = 0
        while start < len(items):
            group = items[start : start + self.most]
            done = False
            try:
                result = work(group)
                done = True
            except Exception as error:
                if len(group) == 1 or not is_out_of_memory(error):
                    raise
            # Beyond the except clause: within it, the traceback would keep alive what is to be given back.
            if done:
                yield result
                start += len(group)
            else:
                self.most = len(group) // 2
                trim_memory()
