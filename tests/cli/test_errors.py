"""What the library says of its arguments reaches users of the command line in terms of options, and only there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import vidcomp
from vidcomp.cli.terminal import in_options


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("device='cuda': this machine has none", "--device cuda: this machine has none"),
        ("tau=0.5: must be at least 1", "--tau 0.5: must be at least 1"),
        ("m: leave it out (compressor=none)", "m: leave it out (--compressor none)"),
        (
            "go on with resume=True, or start again with overwrite=True",
            "go on with --resume, or start again with --overwrite",
        ),
        ("such as cuts=res2+res3", "such as --cut res2+res3"),
        ("/data/device=cuda/tau=4/x.mp4: not a video", "/data/device=cuda/tau=4/x.mp4: not a video"),
        ("fps=30.mp4: not a video", "fps=30.mp4: not a video"),
    ],
)
def test_arguments_are_told_as_options(said: str, told: str) -> None:
    assert in_options(said) == told


def test_nothing_but_the_command_line_and_the_output_speaks_of_options() -> None:
    """Strings that are shown to somebody, that is all but docstrings of scripts, hold no ``--option``.

    The engine for many machines is run by the command line alone, and writes output. A whole command, to be typed, is
    the same for everybody.
    """
    root = Path(vidcomp.__file__).parent
    found = []
    for file in sorted(root.rglob("*.py")):
        part = file.relative_to(root).parts[0]
        if part in ("cli", "output", "scale") or "recipes" in file.parts:
            continue
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        commands = {
            id(piece)
            for node in nodes
            if isinstance(node, ast.JoinedStr) and ast.unparse(node).startswith(("f'vidcomp ", 'f"vidcomp '))
            for piece in node.values
        }
        for node in nodes:
            if id(node) in commands:
                continue
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            found += [f"{file}: {match}" for match in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)]
    assert not found
