"""A decoder, or a program, that comes to grief at one file: for tests that nothing else suffers.

The fault is armed by the environment, which decoding processes inherit: ``VIDCOMP_TEST_FAULT`` is `hang`, `crash`,
`memory` or `kill`, and every file whose name holds ``VICTIM`` meets it when its first frames are read.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

from vidcomp.video import Frames
from vidcomp.video.worker import process

VARIABLE = "VIDCOMP_TEST_FAULT"
VICTIM = "victim"
_CHILD = "from vidcomp.video.worker.child import main;"
BOOTSTRAP = process._BOOTSTRAP.replace(_CHILD, f"import tests.saboteur as s; s.arm_decoder(); {_CHILD}")


def arm_decoder() -> None:
    """Have this process, a decoding one, meet the fault."""
    from vidcomp.video.worker import child

    class Sabotaged(child.Reader):
        def chunks(self, *given: Any, **options: Any) -> Iterator[Frames]:
            if VICTIM in os.path.basename(self.info.path):  # noqa: PTH119
                _strike(os.environ.get(VARIABLE))
            return super().chunks(*given, **options)

    child.Reader = Sabotaged  # type: ignore[misc]


def _strike(fault: str | None) -> None:
    if fault == "hang":
        time.sleep(600)
    elif fault == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == "memory":
        bytearray(1 << 46)
    elif fault == "kill":
        os.kill(os.getppid(), signal.SIGKILL)


if __name__ == "__main__":
    from vidcomp.cli import main

    process._BOOTSTRAP = BOOTSTRAP
    main()
