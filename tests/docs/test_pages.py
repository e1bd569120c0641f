"""What the pages tell people to type is possible: commands parse, links lead somewhere, and snippets run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from tests import clips
from vidcomp.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of each `vidcomp` in the page's blocks that are no other language."""
    for language, block in _FENCE.findall(page.read_text(encoding="utf-8")):
        if language not in ("", "sh", "console"):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            words = (
                shlex.split(line.removeprefix("$ "), comments=True) if "vidcomp " in line and '"' not in line else []
            )
            while "vidcomp" in words:
                words = words[words.index("vidcomp") + 1 :]
                end = next((place for place, word in enumerate(words) if word in ("|", "&&", ";", ">")), len(words))
                if words[:1] and re.fullmatch(r"[a-z]+", words[0]):
                    yield words[:end]


def parse(arguments: list[str]) -> None:
    """Go down to the command, and have it parse what is left without running it."""
    command: Any = typer.main.get_command(app)
    context: Any = None
    name = "vidcomp"
    while True:
        context = command.make_context(name, list(arguments), parent=context)
        if not getattr(command, "commands", None):
            return
        name, command, arguments = command.resolve_command(context, [*context._protected_args, *context.args])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_parse(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for arguments in commands(page):
        parse(arguments)


def test_there_are_commands_to_parse() -> None:
    assert sum(1 for page in PAGES for _ in commands(page)) > 40
    with pytest.raises(Exception, match="no-such-option"):
        parse(["classify", "x.mp4", "--no-such-option"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"(?<!!)\[[^]]*\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("name", ["README.md", "docs/index.md", "docs/reference/python.md"])
def test_python_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips.make_clip(tmp_path / "video.mp4", 20)
    monkeypatch.chdir(tmp_path)
    (snippet,) = [block for language, block in _FENCE.findall((ROOT / name).read_text()) if language == "python"]
    exec(snippet.replace("vidcomp.load()", f"vidcomp.load({str(model)!r})"), {})
    assert capsys.readouterr().out.strip()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
