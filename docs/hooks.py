"""What the site makes itself: the reference of the command line, from the commands as they are."""

from __future__ import annotations

import inspect
import re
from typing import Any

import typer

_MARKUP = re.compile(r"\[/?b\]")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put every command with its options, and every key of a manifest, where a page asks for them."""
    for mark, lines in (("<!-- commands -->", commands), ("<!-- manifest -->", manifest_keys)):
        if mark in markdown:
            markdown = markdown.replace(mark, "\n".join(lines()))
    return markdown


def commands() -> list[str]:
    """A section per command: its usage, what it does, and a table of its options."""
    from vidcomp.cli import app

    return list(_section(typer.main.get_command(app), "vidcomp", None))


def manifest_keys() -> list[str]:
    """A table per section of a manifest, with every key."""
    from vidcomp.zoo.manifest import Manifest

    schema = Manifest.model_json_schema()
    sections = {"The manifest": schema, **schema.get("$defs", {})}
    lines = []
    for name, section in sections.items():
        lines += [f"\n## {name}\n", "| key | meaning |", "|---|---|"]
        for key, value in section.get("properties", {}).items():
            needed = " (needed)" if key in section.get("required", ()) else ""
            lines.append(
                f"| `{key}`{needed} | {(value.get('description') or _kind(value)).replace('|', chr(92) + '|')} |"
            )
    return lines


def _kind(value: dict[str, Any]) -> str:
    """What a key without a description holds."""
    found = [part.get("$ref", "").rpartition("/")[2] or part.get("type", "") for part in value.get("anyOf", [value])]
    return " or ".join(dict.fromkeys(kind for kind in found if kind)) or "anything"


def _section(command: Any, name: str, parent: Any) -> Any:
    context = type(command).context_class(command, info_name=name.split()[-1], parent=parent)
    children = getattr(command, "commands", {})
    yield f"\n## {name}\n"
    text = inspect.cleandoc(command.help or "")
    yield _MARKUP.sub("`", text) + "\n"
    options = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    if options and parent is not None:
        yield f"```\n{name} {' '.join(command.collect_usage_pieces(context))}\n```\n"
        yield "| option | meaning |\n|---|---|"
        for option in options:
            yield _row(option, context)
    for child, sub in children.items():
        yield from _section(sub, f"{name} {child}", context)


def _row(option: Any, context: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts) if name.startswith("-"))
    shown, _, meaning = (option.get_help_record(context) or (option.name, "", ""))[0], "", option.help or ""
    value = "" if not names or getattr(option, "is_flag", False) else shown.rpartition(" ")[2]
    default = option.default if isinstance(option.default, int | float | str) else None
    told = "" if default in (None, False, "") or getattr(option, "is_flag", False) else f" By default `{default}`."
    cells = (f"{names or f'`{shown}`'} {value}", _MARKUP.sub("", meaning) + told)
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |"
