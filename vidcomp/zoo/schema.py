"""YAML files that a user writes, manifests and recipes, and what is wrong with one as one line."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError


class SchemaError(ValueError):
    """The file is not what it must be: the message begins with its path."""


def read_mapping(path: Path, what: str, example: str, *, empty: bool = False) -> dict[str, Any]:
    """The keys and values of a YAML file; tags are not honored.

    Args:
        path: the file.
        what: what it is called in messages.
        example: a line that it might have.
        empty: whether it may have no keys at all.

    Raises:
        SchemaError: it is missing, cannot be read, is not YAML, or holds no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SchemaError(f"{path}: there is no such {what}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError(f"{path}: the {what} cannot be read ({getattr(error, 'strerror', error)})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise SchemaError(f"{path}{line}: not valid YAML: {problem}") from None
    if content is None and empty:
        return {}
    if not isinstance(content, dict):
        raise SchemaError(f"{path}: a {what} must be a mapping of keys, such as '{example}'")
    return content


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """The first thing wrong in one line: which key, what is wrong with it, and what the key means."""
    problems = error.errors(include_url=False)
    first = problems[0]
    section: type[BaseModel] | None = model
    meaning = ""
    for part in first["loc"]:
        field = section.model_fields.get(str(part)) if section is not None else None
        if field is not None:
            meaning, section = field.description or "", _section_in(field.annotation)
    key = ".".join(str(part) for part in first["loc"])
    what = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        fields = (section or model).model_fields
        allowed = ", ".join(name for name, field in fields.items() if not field.exclude)
        what, meaning = f"unknown key; allowed here are {allowed}", ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    said = f"{key}: {what}" if key else what
    return said + (f" — {key.rsplit('.', 1)[-1]} is {meaning}" if meaning else "") + more


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The model that values of this type are, or hold."""
    if parts := typing.get_args(annotation):
        return next((found for part in parts if (found := _section_in(part))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
