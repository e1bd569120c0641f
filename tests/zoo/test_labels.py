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


def test_the_label_most_like_what_was_asked_for_comes_first() -> None:
    assert near_labels(("HandstandPushups", "PushUps", "WallPushups"), "pushup")[0] == "PushUps"


def test_labels_that_differ_in_case_alone_are_told_apart_and_unicode_forms_are_not() -> None:
    labels = ("Run", "run", "cafe\u0301", "swim", "long jump")
    manifest = find_manifest("ucf16-lite0")
    few = manifest.with_changes(labels=labels, backbone=manifest.backbone.model_copy(update={"classes": 5}))
    for only, expected in (
        (("run", "caf\u00e9"), (1, 2)),
        (("Run", " SWIM "), (0, 3)),
        (("Run", "long  jump"), (0, 4)),
        (("Run", "run", "CAFE\u0301", "swim", "long jump"), None),  # all
    ):
        assert chosen_labels(few.with_changes(only=only)) == expected
    with pytest.raises(ManifestError, match="no label 'RUN'; similar are 'Run', 'run'"):
        chosen_labels(few.with_changes(only=("RUN", "swim")))


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
