"""Strategies by their names: the one grammar of every command and of the library.

=====================  =============================================================================
``dense30``            30 dense views of the uncompressed network: clips × 3 crops
``dense10x1``          the same with the crops said: 10 clips × 1 crop
``whole``              the whole video in one pass, uncompressed
``sfc``, ``sgs``       the whole video in one pass, through that compressor of the model or its sibling
``sgs+sfc``            through both; they run in the network's order, in whatever order they are named
``uniform8``           8 clips of 128 source frames, joined, in one pass, with the model's compressors
``uniform8x32``        the same with clips of 32 source frames
``bitstream``          the whole video as its encoder made it: key frames and what has moved since
``keyframes``          the key frames alone, joined, in one pass, with the model's compressors
``sfc-tau4``           what goes through SFC, with another compression ratio than the model's own
=====================  =============================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from vidcomp.inference.strategies import DEFAULT_CROPS, DenseViews, KeyFrames, Strategy, UniformClips, WholeVideo
from vidcomp.nn.compressors import COMPRESSORS
from vidcomp.zoo.build import BITSTREAM, Variant, vary
from vidcomp.zoo.manifest import Manifest

_EXAMPLES = (
    "dense30, dense10x1, whole, sfc, sfc-tau4, sgs, sgs+sfc, sgs+sfc-tau4, "
    "uniform8, uniform8x32, bitstream or keyframes"
)
_KINDS = frozenset(COMPRESSORS) - {"identity"}


class StrategyError(ValueError):
    """There is no such strategy, or what was asked for with it cannot be obeyed: one line for the user."""


@dataclass(frozen=True)
class NamedStrategy:
    """A way to pass a video, and the variant of the model that it passes through.

    ``strategy`` is ``None`` where none was named: videos are then passed whole, or as uniform clips above the
    manifest's ``max_frames``.
    """

    strategy: Strategy | None
    variant: Variant

    def manifest(self, manifest: Manifest) -> Manifest:
        """The variant of the model that this runs.

        Raises:
            ManifestError: the model does not have the compressor, or nothing to which the ratio could apply.
        """
        return vary(manifest, self.variant)

    def name(self, manifest: Manifest) -> str:
        """The strategy's name in the grammar, for :meth:`manifest`'s result: compressors in the network's order."""
        kinds = "+".join(section.kind for section in manifest.compressors if section.kind != "identity")
        if isinstance(self.strategy, DenseViews | KeyFrames):
            base = self.strategy.name
        elif isinstance(self.strategy, UniformClips):
            base = self.strategy.name.removesuffix(f"x{UniformClips.clip_frames}")
        else:
            base = kinds or (BITSTREAM if manifest.backbone.family == BITSTREAM else "whole")
        return base if self.variant.tau is None else f"{base}-tau{self.variant.tau:g}"


def parse_strategy(name: str | None, *, compressor: str | None = None, tau: float | None = None) -> NamedStrategy:
    """A strategy by its name, with a compressor and SFC's compression ratio where the name leaves them open.

    ``compressor`` is a kind, several joined by +, or "none".

    Raises:
        StrategyError: there is no such strategy, or compressor or ratio contradict it.
    """
    if name is None:
        return NamedStrategy(None, Variant(compressor, tau))
    if not isinstance(name, str):
        raise StrategyError(f"{name!r}: a strategy is one name, such as {_EXAMPLES}")
    base, _, suffix = name.partition("-tau")
    ratio = _ratio(name, suffix) if base != name else tau
    if tau not in (None, ratio):
        raise StrategyError(f"{name}: another compression ratio was asked for too (tau={tau:g}); choose one")
    if re.search(r"\d{5}", base):
        raise StrategyError(f"{name}: clips, crops and frames are numbers of four digits at most")
    if match := re.fullmatch(r"dense(\d+)(?:x(\d+))?", base):
        return NamedStrategy(_dense(name, match[1], match[2]), _uncompressed(name, compressor, ratio))
    if base == "whole":
        return NamedStrategy(WholeVideo(), _uncompressed(name, compressor, ratio))
    if base == BITSTREAM:
        if compressor is not None:
            raise StrategyError(f"{name}: a compressor was asked for too ({compressor}); choose one")
        if ratio is not None:
            raise _no_sfc(name)
        return NamedStrategy(WholeVideo(), Variant(BITSTREAM))
    if base == KeyFrames.name:
        return NamedStrategy(KeyFrames(), Variant(compressor, ratio))
    if match := re.fullmatch(r"uniform([1-9]\d*)(?:x([1-9]\d*))?", base):
        clips = UniformClips(int(match[1])) if match[2] is None else UniformClips(int(match[1]), int(match[2]))
        return NamedStrategy(clips, Variant(compressor, ratio))
    kinds = base.split("+")
    if not _KINDS.issuperset(kinds) or len(set(kinds)) < len(kinds):
        raise StrategyError(f"{name or '(empty)'}: unknown strategy; name one, such as {_EXAMPLES}")
    if compressor is not None and set(compressor.split("+")) != set(kinds):
        raise StrategyError(f"{name}: another compressor was asked for too ({compressor}); choose one")
    if ratio is not None and "sfc" not in kinds:
        raise _no_sfc(name)
    return NamedStrategy(WholeVideo(), Variant(base, ratio))


def _dense(name: str, views: str, crops: str | None) -> DenseViews:
    count, per_clip = int(views), DEFAULT_CROPS if crops is None else int(crops)
    if crops is not None and count and per_clip:
        return DenseViews(count, per_clip)
    if crops is not None or not count or count % DEFAULT_CROPS:
        raise StrategyError(
            f"{name}: dense views are clips x {DEFAULT_CROPS} crops, such as dense30; dense10x1 is 10 clips x 1 crop"
        )
    return DenseViews(count // DEFAULT_CROPS)


def _uncompressed(name: str, compressor: str | None, tau: float | None) -> Variant:
    if compressor not in (None, "none"):
        raise StrategyError(f"{name}: it passes the uncompressed network, but compressor={compressor} was asked for")
    if tau is not None:
        raise _no_sfc(name)
    return Variant("none")


def _no_sfc(name: str) -> StrategyError:
    return StrategyError(f"{name}: tau is the compression ratio of SFC, and there is no SFC in this; leave it out")


def _ratio(name: str, text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        raise StrategyError(
            f"{name}: -tau and a number may end a strategy's name, as in sfc-tau4 and sgs+sfc-tau2.5; "
            "name one strategy at a time"
        )
    return float(text)
