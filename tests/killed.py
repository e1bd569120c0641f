"""A program that dies without a chance to put anything in order."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable

_DIED = 9


def killed_after(work: Callable[[], object]) -> None:
    """Run ``work`` in a copy of this process, which then ends as if it had been killed."""
    with warnings.catch_warnings():
        # Since 3.12, Python warns that threads are not copied; the work here is to write files.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            work()
            os._exit(_DIED)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == _DIED
