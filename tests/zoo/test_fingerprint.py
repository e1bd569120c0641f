from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_model import make_tiny_model
from vidcomp.zoo.build import Variant, vary
from vidcomp.zoo.manifest import find_manifest, read_manifest
from vidcomp.zoo.weights import fingerprint


def test_only_what_changes_the_answer_changes_the_fingerprint(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("a", "b", "c")]
    for place, seed in zip(places, (0, 0, 1), strict=True):
        place.mkdir()
        make_tiny_model(place, seed)
    here, elsewhere, other = (fingerprint(read_manifest(place / "tiny.yaml")) for place in places)
    assert here == elsewhere
    assert here != other
    manifest = places[0] / "tiny.yaml"
    text = manifest.read_text()
    manifest.write_text(text.replace("random weights", "weights at random"))
    assert fingerprint(read_manifest(manifest)) == here
    for old, new in (("jump", "hop"), ("stride: 8", "stride: 4"), ("res3", "res4")):
        manifest.write_text(text.replace(old, new))
        assert fingerprint(read_manifest(manifest)) != here


@pytest.mark.parametrize("variant", [Variant(tau=4), Variant(compressor="none")])
def test_variants_differ(variant: Variant) -> None:
    manifest = find_manifest("ucf16-lite0")
    assert fingerprint(vary(manifest, variant)) != fingerprint(manifest)


def test_a_model_of_0_1_0_has_the_name_it_had() -> None:
    """Outputs that were written with it then are gone on with now."""
    name = "153299ed4ae0a62ab3dde8bff10e8239014f9c7af422f62e9c76ba0151ac63ba"
    assert fingerprint(vary(find_manifest("ucf16-lite0"), Variant(compressor="none"))) == name


def test_labels_to_choose_among_are_part_of_it_in_whatever_order_and_case() -> None:
    manifest = find_manifest("ucf16-lite0")
    chosen = {fingerprint(vary(manifest, Variant(only=only))) for only in (("Swing", "Diving"), ("diving", "swing"))}
    others = {fingerprint(vary(manifest, Variant(only=only))) for only in ((), ("Swing", "Surfing"))}
    assert (len(chosen), len(others)) == (1, 2)
    assert not chosen & others
