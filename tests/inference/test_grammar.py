"""The names of strategies: what each means, what is refused, and that every command reads the same ones."""

from __future__ import annotations

import pytest

from vidcomp.inference.grammar import NamedStrategy, StrategyError, parse_strategy
from vidcomp.inference.strategies import DenseViews, KeyFrames, UniformClips, WholeVideo
from vidcomp.zoo import ManifestError
from vidcomp.zoo.build import Variant
from vidcomp.zoo.manifest import find_manifest


@pytest.mark.parametrize(
    ("name", "strategy", "variant"),
    [
        ("dense30", DenseViews(10, 3), Variant("none")),
        ("dense3", DenseViews(1, 3), Variant("none")),
        ("dense10x1", DenseViews(10, 1), Variant("none")),
        ("whole", WholeVideo(), Variant("none")),
        ("sfc", WholeVideo(), Variant("sfc")),
        ("sgs+sfc", WholeVideo(), Variant("sgs+sfc")),
        ("sgs+sfc-tau2.5", WholeVideo(), Variant("sgs+sfc", 2.5)),
        ("uniform8", UniformClips(8, 128), Variant()),
        ("uniform8x32", UniformClips(8, 32), Variant()),
        ("uniform8-tau4", UniformClips(8, 128), Variant(None, 4)),
        ("keyframes", KeyFrames(), Variant()),
        ("keyframes-tau4", KeyFrames(), Variant(None, 4)),
    ],
)
def test_what_a_name_means(name: str, strategy: object, variant: Variant) -> None:
    assert parse_strategy(name) == NamedStrategy(strategy, variant)  # type: ignore[arg-type]


def test_what_the_name_leaves_open_may_be_given_beside_it() -> None:
    assert parse_strategy(None, compressor="sgs", tau=4) == NamedStrategy(None, Variant("sgs", 4))
    assert parse_strategy("sfc", tau=4) == parse_strategy("sfc-tau4") == parse_strategy("sfc-tau4", tau=4)
    assert parse_strategy("sfc", compressor="sfc") == parse_strategy("sfc")
    assert parse_strategy("whole", compressor="none") == parse_strategy("whole")
    assert parse_strategy("uniform8", compressor="sgs") == NamedStrategy(UniformClips(8), Variant("sgs"))


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("dense20", {}, "clips x 3 crops"),
        ("dense0", {}, "clips x 3 crops"),
        ("dense0x1", {}, "clips x 3 crops"),
        ("dense30-tau4", {}, "no SFC"),
        ("dense30", {"compressor": "sfc"}, "uncompressed"),
        ("whole", {"tau": 4}, "no SFC"),
        ("sgs-tau2", {}, "no SFC"),
        ("sgs", {"tau": 2}, "no SFC"),
        ("sfc-tau4", {"tau": 2}, "another compression ratio"),
        ("sfc", {"compressor": "sgs"}, "another compressor"),
        ("sfc-tau", {}, "-tau and a number may end a strategy's name"),
        ("sfc-tau1.2.3", {}, "as in sfc-tau4"),
        ("sfc-tau4+sgs", {}, r"as in sfc-tau4 and sgs\+sfc-tau2.5"),
        ("sfc-tau4,whole", {}, "name one strategy at a time"),
        ("sfc-taunan", {}, "-tau and a number"),
        ("sfc,whole", {}, "unknown strategy; name one, such as"),
        ("sfc+sfc", {}, "unknown strategy"),
        ("uniform0", {}, "unknown strategy"),
        ("uniform100000", {}, "four digits at most"),
        ("dense30x99999", {}, "four digits at most"),
        ("identity", {}, "unknown strategy"),
        ("30", {}, "unknown strategy"),
        ("", {}, "unknown strategy"),
    ],
)
def test_what_cannot_be_obeyed_is_refused(name: str, given: dict[str, object], message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        parse_strategy(name, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["sgs+sfc", "sfc+sgs"])
@pytest.mark.parametrize("model", ["ucf16-lite0", "ucf16-lite0-sgs-sfc"])
def test_compressors_run_in_the_networks_order_however_they_are_named(name: str, model: str) -> None:
    named = parse_strategy(f"{name}-tau4")
    manifest = named.manifest(find_manifest(model))
    assert manifest.name == "ucf16-lite0-sgs-sfc"
    assert [section.kind for section in manifest.compressors] == ["sgs", "sfc"]
    assert named.name(manifest) == "sgs+sfc-tau4"


@pytest.mark.parametrize(
    "name", ["dense30", "dense10x1", "whole", "sfc", "sfc-tau4", "uniform8", "uniform8x32", "keyframes"]
)
def test_a_name_is_told_as_it_is_written(name: str) -> None:
    named = parse_strategy(name)
    assert named.name(named.manifest(find_manifest("ucf16-lite0"))) == name


@pytest.mark.parametrize(
    ("compressor", "tau", "message"),
    [
        ("none", 4, "nothing is compressed"),
        ("sgs", 4, "compresses by sgs"),
        (None, 0.5, "at least 1"),
        (None, float("nan"), "at least 1"),
        (None, float("inf"), "at least 1"),
        ("sfc+sfc", None, "not in this model"),
    ],
)
def test_a_ratio_without_sfc_and_an_impossible_one_are_refused(
    compressor: str | None, tau: float | None, message: str
) -> None:
    with pytest.raises(ManifestError, match=message) as caught:
        parse_strategy(None, compressor=compressor, tau=tau).manifest(find_manifest("ucf16-lite0"))
    assert ".yaml" not in str(caught.value)
