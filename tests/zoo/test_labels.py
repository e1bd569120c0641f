"""Labels by name, those to choose among, and what is suggested where there is no such label."""

from __future__ import annotations

import pytest

from vidcomp.zoo import ManifestError
from vidcomp.zoo.build import Variant, vary
from vidcomp.zoo.labels import chosen_labels, labels_of, near_labels
from vidcomp.zoo.manifest import find_manifest

LABELS = ("skiing slalom", "jetskiing", "skipping rope", "push up", "golf driving", "riding a bike")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ski", ["skiing slalom", "jetskiing", "skipping rope"]),
        ("Golf", ["golf driving"]),
        ("skiiing", ["skiing slalom"]),
        ("rope jumping", ["skipping rope"]),
        ("biking", ["riding a bike"]),
        ("xyzzy", []),
    ],
)
def test_labels_that_come_near(name: str, expected: list[str]) -> None:
    near = near_labels(LABELS, name)
    assert set(expected) <= set(near)
    assert bool(near) == bool(expected)


def test_labels_are_chosen_in_the_classifiers_order_whatever_their_case() -> None:
    manifest = vary(find_manifest("kinetics400-i3d"), Variant(only=("YOGA", "abseiling")))
    chosen = chosen_labels(manifest)
    assert chosen is not None
    assert [labels_of(manifest)[number] for number in chosen] == ["abseiling", "yoga"]
    assert chosen_labels(find_manifest("kinetics400-i3d")) is None


@pytest.mark.parametrize(
    ("only", "message"),
    [
        (("yoga", "golf swing"), "no label 'golf swing'; similar are 'golf chipping', 'golf driving', 'golf putting'"),
        (("yoga", "qqqq"), "no label 'qqqq'; no label is similar"),
        (("yoga",), "give two or more"),
        (("yoga", "Yoga"), "give two or more"),
    ],
)
def test_what_is_no_choice_is_one_line(only: tuple[str, ...], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        chosen_labels(find_manifest("kinetics400-i3d").with_changes(only=only))
