"""What a user sees of `--compile`: how long it took, or that it is not to be had here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from vidcomp.cli.errors import warn

if TYPE_CHECKING:
    from vidcomp.inference.classifier import Classifier


def compile_model(classifier: Classifier, *, quiet: bool) -> None:
    """Compile the classifier's network and say how long that took; where it is not possible, warn and go on."""
    compilation = classifier.runner.compile()
    if compilation.problem is not None:
        warn(f"--compile: not possible here, going on without it ({compilation.problem})")
    elif not quiet:
        print(f"vidcomp: the model was compiled in {compilation.seconds:.1f} s", file=sys.stderr)
