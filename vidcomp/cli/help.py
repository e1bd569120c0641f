"""How commands look in `--help`: values in a person's words, and paragraphs that fit the terminal."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

_Function = TypeVar("_Function", bound=Callable[..., Any])
_VALUES = {"int": "N", "float": "NUMBER", "str": "TEXT", "path": "PATH"}
_VALUES |= {"integer": "N", "integer range": "N", "float range": "NUMBER", "text": "TEXT"}  # click's own words


class _Plain:
    """Names the values of options."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What the line of usage says, with which all help begins."""
        parameters: list[Any] = self.get_params(ctx)  # type: ignore[attr-defined]
        for parameter in parameters:
            if parameter.metavar is None:
                parameter.metavar = _value(parameter)
            if parameter.param_type_name == "argument":
                parameter.display_type_rich = lambda ctx: ""  # its name says what it is
        pieces: list[str] = super().collect_usage_pieces(ctx)  # type: ignore[misc]
        return pieces


class Command(_Plain, TyperCommand):
    """A command with such help."""


class Group(_Plain, TyperGroup):
    """A group of commands with such help."""


class App(typer.Typer):
    """A program, or a group of its commands, with such help."""

    def __init__(self, **options: Any) -> None:
        """Take what :class:`typer.Typer` takes."""
        super().__init__(**{"cls": Group, **options})

    def command(self, name: str | None = None, **options: Any) -> Callable[[_Function], _Function]:
        """As :meth:`typer.Typer.command`; the lines of each paragraph of a function's docstring are joined."""

        def register(function: _Function) -> _Function:
            paragraphs = (inspect.getdoc(function) or "").split("\n\n")
            joined = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
            return super(App, self).command(name, cls=Command, help=joined, **options)(function)

        return register


def _value(parameter: Any) -> str | None:
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    if parameter.is_flag:
        return ""
    kind = parameter.bare_type() if hasattr(parameter, "bare_type") else parameter.type.name
    return _VALUES.get(kind.removeprefix("list[").removesuffix("]").lower())
