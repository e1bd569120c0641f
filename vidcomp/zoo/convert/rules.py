"""What a newcomer reads to see how a publisher's keys become ours: ordered rules, and what a source is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vidcomp.nn.backbones.base import Normalization


@dataclass(frozen=True)
class Rename:
    """Replace what the regular expression ``old`` matches in a key by ``new``."""

    old: str
    new: str


@dataclass(frozen=True)
class Leave:
    """Leave out, knowingly, the keys that the regular expression ``old`` matches, for the reason ``why``."""

    old: str
    why: str


Rule = Rename | Leave


@dataclass(frozen=True)
class Source:
    """A publisher of checkpoints.

    ``families`` gives, for each backbone family that is published, the rules for its keys. ``normalization`` is
    what the weights want. ``read`` reads a file that is none of
    torch's and not safetensors, and brings its tensors to torch's order of axes; it may raise anything.
    """

    summary: str
    families: Mapping[str, Sequence[Rule]]
    normalization: Normalization
    read: Callable[[Path], Mapping[str, Tensor]] | None = None


def apply_rules(key: str, rules: Sequence[Rule]) -> tuple[str, str | None]:
    """Run a key through all rules, in their order, each on what the one before made of it.

    Returns:
        The new key, and the reason to leave it out where a :class:`Leave` met it (the key is then as it came so far).
    """
    for rule in rules:
        if isinstance(rule, Leave):
            if re.search(rule.old, key):
                return key, rule.why
        else:
            key = re.sub(rule.old, rule.new, key)
    return key, None
