"""Manifests: those that ship are sound, and what is wrong in one is said in a line that names the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from tests.tiny_model import make_tiny_model
from vidcomp.zoo import ManifestError, ZooError
from vidcomp.zoo.build import BITSTREAM, Variant, build_network, load_model, load_variant, vary
from vidcomp.zoo.labels import labels_of
from vidcomp.zoo.manifest import (
    Manifest,
    find_manifest,
    list_manifests,
    models_folder,
    parse_yaml,
    read_manifest,
)
from vidcomp.zoo.weights import fingerprint, locate, read

GOOD: dict[str, Any] = {
    "name": "mine",
    "summary": "a test",
    "backbone": {"family": "lite0_slow", "classes": 2},
    "compressors": [{"cut": "res3", "kind": "sfc", "options": {"tau": 2}}],
    "labels": ["yes", "no"],
}


def write(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def change(*keys: str | int, value: object) -> dict[str, Any]:
    """A copy of GOOD with one nested value replaced (or added)."""
    copy: Any = yaml.safe_load(yaml.safe_dump(GOOD))
    inner = copy
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    result: dict[str, Any] = copy
    return result


@pytest.mark.parametrize("manifest", list_manifests(), ids=lambda manifest: manifest.name)
def test_what_ships_can_be_found_and_built(manifest: Manifest) -> None:
    assert manifest.origin.parent == models_folder().resolve()
    assert find_manifest(manifest.name) == manifest
    with torch.device("meta"):
        network = build_network(manifest)
    assert network.cuts == tuple(section.cut for section in manifest.compressors)
    assert len(labels_of(manifest)) == manifest.backbone.classes


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("backbone", "classes"), 0, r"backbone\.classes: .*greater than or equal to 1 — classes is number of classes"),
        (("backbone", "familly"), "x", r"backbone\.familly: unknown key; allowed here are family, classes"),
        (("surprise",), 1, r"surprise: unknown key; allowed here are base, name, summary"),
        (("name",), "../evil", r"name: "),
        (("backbone", "weights"), {"file": "../../etc/passwd"}, r"backbone\.weights\.file: must be relative"),
        (("backbone", "weights"), {"file": "/etc/passwd"}, r"backbone\.weights\.file: must be relative"),
        (("backbone", "weights"), {"path": "here.safetensors"}, r"path must be absolute"),
        (("backbone", "weights"), {"url": "https://x.example/w"}, r"a url needs the file's sha256"),
        (("backbone", "weights"), {"url": "https://x.example/w", "sha256": "0" * 8}, r"a url needs the file's sha256"),
        (("backbone", "weights"), {"url": "https://x.example/w", "format": "tf"}, r"weights\.format: .*'mmaction2'"),
        (("backbone", "weights"), {"file": "w", "format": "vmz"}, r"format is said of a url"),
        (("backbone", "weights"), {"url": "ftp://x.example/w", "sha256": "0" * 64}, r"must begin with https://"),
        (("backbone", "weights"), {"file": "a", "path": "/b"}, r"exactly one of .*, not file and path"),
        (("backbone", "weights"), {}, r"exactly one of .*, not none"),
        (("compressors",), [], r"compressors: "),
        (("preprocessing",), {"std": [1, 2]}, r"preprocessing\.std"),
    ],
)
def test_a_wrong_key_is_named_in_one_line(tmp_path: Path, keys: tuple[str, ...], value: object, message: str) -> None:
    path = write(tmp_path, change(*keys, value=value))
    with pytest.raises(ManifestError, match=message) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: [", r"mine\.yaml, line \d+: not valid YAML"),
        ("just text", "must be a mapping"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("", "must be a mapping"),
        (
            "name: a\nsummary: b\n'name': c",
            "mine.yaml, line 3: not valid YAML: the key name stands twice, first in line 1",
        ),
        ("name: a\nbackbone:\n  options:\n    depth: 5\n    depth: 5", "line 5: .* key depth .* line 4"),
        ("compressors:\n- cut: res3\n  kind: sfc\n- cut: res4\n  cut: res5", "line 5: .* key cut .* line 4"),
        ("name: a\nlabels: {x: 1, y: 2, x: 3}", "line 2: .* key x .* line 2"),
    ],
)
def test_what_is_not_a_manifest_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ManifestError, match=message):
        read_manifest(path)


def test_one_key_in_two_mappings_or_over_a_merged_one_stands_once() -> None:
    text = "some: &some {a: 1, b: 2}\nmore: {deep: {<<: *some, a: 3}}\nagain: [*some, *some]"
    assert parse_yaml(text) == {
        "some": {"a": 1, "b": 2},
        "more": {"deep": {"a": 3, "b": 2}},
        "again": [{"a": 1, "b": 2}] * 2,
    }
    with pytest.raises(yaml.YAMLError, match="the key b stands twice"):
        parse_yaml("&a [*a, {b: 1, b: 2}]")


def test_an_unknown_name_is_told_what_it_is_near_to() -> None:
    with pytest.raises(ManifestError, match=r"unknown model 'X3D-M': did you mean x3d_m, "):
        find_manifest("X3D-M")
    with pytest.raises(ManifestError, match=r"unknown model 'qqqq': 'vidcomp models list' names all"):
        find_manifest("qqqq")
    with pytest.raises(ManifestError, match="there is no such manifest"):
        find_manifest("nothing.yaml")


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("backbone", "family"), "resnet", r"unknown family 'resnet'; choose one of .*lite0_slow"),
        (("backbone", "options"), {"depth": 3}, r"backbone\.options: .*depth"),
        (("compressors", 0, "cut"), "res9", r"unknown cut 'res9': .*stem, res2, res3, res4, res5"),
        (("compressors", 0, "kind"), "zip", r"unknown compressor 'zip'; choose one of identity"),
        (("compressors", 0, "options"), {"tau": 0.5}, r"tau must be a number of at least 1, not 0\.5"),
        (("compressors", 0, "options"), {"speed": 1}, r"options of sfc: .*speed"),
    ],
)
def test_what_cannot_be_built_says_why(tmp_path: Path, keys: tuple[str, ...], value: object, message: str) -> None:
    manifest = read_manifest(write(tmp_path, change(*keys, value=value)))
    with pytest.raises(ManifestError, match=message):
        build_network(manifest)


@pytest.mark.parametrize(
    ("labels", "message"),
    [(["one"], "1 labels for 2 classes"), ("nothing", "unknown list 'nothing'; choose kinetics400, ucf16")],
)
def test_labels_must_fit(tmp_path: Path, labels: object, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        labels_of(read_manifest(write(tmp_path, change("labels", value=labels))))


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("x3d_s", ["sfc"]),
        ("x3d_s-sfc", ["sfc"]),
        ("x3d_s-sgs", ["sgs"]),
        ("x3d_s-sgs-sfc", ["sgs", "sfc"]),
        ("slowfast_4x16_r50-sgs", ["sgs"]),
        ("kinetics400-i3d-sgs", ["sgs"]),
        ("kinetics400-i3d-sgs-sfc", ["sfc", "sgs"]),
    ],
)
def test_compressors_may_stand_behind_a_models_name(name: str, kinds: list[str]) -> None:
    manifest = find_manifest(name)
    assert (manifest.name, [section.kind for section in manifest.compressors]) == (name, kinds)


def test_a_file_holds_a_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family = {key: value for key, value in GOOD.items() if key not in ("name", "summary")}
    family["variants"] = {
        "small": {"summary": "one"},
        "large": {"summary": "two", "backbone": {"classes": 3}, "labels": ["a", "b", "c"]},
    }
    write(tmp_path, family)
    monkeypatch.setattr("vidcomp.zoo.manifest.models_folder", lambda: tmp_path)
    assert [manifest.name for manifest in list_manifests()] == ["large", "small"]
    large = find_manifest("large")
    assert (large.backbone.family, large.backbone.classes, large.labels) == ("lite0_slow", 3, ("a", "b", "c"))


def test_variants(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, GOOD))
    assert vary(manifest, Variant(tau=4)).compressors[0].options == {"tau": 4}
    assert vary(manifest, Variant(compressor="none")).compressors[0].kind == "identity"
    assert vary(manifest, Variant(cut="res2")).compressors[0].cut == "res2"
    assert vary(manifest, Variant(compressor="none")).origin == manifest.origin
    with pytest.raises(ManifestError, match="choose sfc or none"):
        vary(manifest, Variant(compressor="sgs"))
    plain = read_manifest(write(tmp_path, change("compressors", value=[{"cut": "res3", "kind": "identity"}])))
    with pytest.raises(ManifestError, match="tau=2 is the compression ratio of SFC, and nothing is compressed"):
        vary(plain, Variant(tau=2))


def test_compressors_that_a_model_lacks_may_be_a_siblings(tmp_path: Path) -> None:
    both = [{"cut": "res2", "kind": "sgs"}, {"cut": "res3", "kind": "sfc"}]
    chained = read_manifest(write(tmp_path, change("compressors", value=both)))
    for compressor, kept in (("sgs", ["sgs"]), ("sfc", ["sfc"]), ("sgs+sfc", ["sgs", "sfc"]), (None, ["sgs", "sfc"])):
        assert [section.kind for section in vary(chained, Variant(compressor)).compressors] == kept
    shipped = find_manifest("ucf16-lite0")
    assert vary(shipped, Variant("sgs")).name == "ucf16-lite0-sgs"
    assert vary(shipped, Variant("sgs+sfc")).name == "ucf16-lite0-sgs-sfc"
    assert vary(find_manifest("ucf16-lite0-sgs"), Variant("sfc", 4)).compressors[0].options["tau"] == 4
    for manifest in list_manifests():
        for compressor, name in manifest.siblings.items():
            sibling = find_manifest(name)
            assert sibling.labels == manifest.labels
            if BITSTREAM in (compressor, manifest.backbone.family):  # another network
                continue
            assert "+".join(section.kind for section in sibling.compressors) == compressor
            assert (sibling.backbone.family, sibling.backbone.classes) == (
                manifest.backbone.family,
                len(labels_of(manifest)),
            )
            ours, theirs = sibling.backbone.weights, manifest.backbone.weights
            assert ours is not None
            assert theirs is not None
            # Where they differ, something replaces what they have in common.
            common = [[part.sha256 for part in source.parts if not part.replaces] for source in (ours, theirs)]
            assert common[0] == common[1]
            assert sibling.preprocessing == manifest.preprocessing


def test_local_weights_are_found_and_checked(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    source = {"file": "w.safetensors", "sha256": digest}
    manifest = read_manifest(write(tmp_path, change("backbone", "weights", value=source)))
    assert manifest.backbone.weights is not None
    assert locate(manifest.backbone.weights, manifest.origin, manifest.backbone.family) == tmp_path / "w.safetensors"
    (tmp_path / "w.safetensors").write_bytes(b"abd")
    with pytest.raises(ZooError, match="changed or damaged"):
        locate(manifest.backbone.weights, manifest.origin, manifest.backbone.family)
    (tmp_path / "w.safetensors").unlink()
    with pytest.raises(ZooError, match="are not there"):
        locate(manifest.backbone.weights, manifest.origin, manifest.backbone.family)


def test_weights_in_several_files_are_one_set_of_tensors(tmp_path: Path) -> None:
    for name, tensors in (
        ("a", {"x": torch.ones(2)}),
        ("b", {"y": torch.zeros(3).half()}),
        ("c", {"x": torch.full((2,), 5.0)}),
    ):
        save_file(tensors, tmp_path / f"{name}.safetensors")
    parted = {"file": "a.safetensors", "more": [{"file": "b.safetensors"}]}
    manifest = read_manifest(write(tmp_path, change("backbone", "weights", value=parted)))
    assert manifest.backbone.weights is not None
    tensors = read(manifest.backbone.weights, manifest.origin, "lite0_slow")
    assert {name: (value.shape[0], value.dtype) for name, value in tensors.items()} == {
        "x": (2, torch.float32),
        "y": (3, torch.float32),
    }
    parted["more"].append({"file": "c.safetensors"})  # type: ignore[attr-defined]
    doubled = read_manifest(write(tmp_path, change("backbone", "weights", value=parted)))
    assert doubled.backbone.weights is not None
    with pytest.raises(ZooError, match="x is in more than one"):
        read(doubled.backbone.weights, doubled.origin, "lite0_slow")
    parted["more"][-1]["replaces"] = True  # type: ignore[index]
    replaced = read_manifest(write(tmp_path, change("backbone", "weights", value=parted)))
    assert replaced.backbone.weights is not None
    assert read(replaced.backbone.weights, replaced.origin, "lite0_slow")["x"].tolist() == [5, 5]


def based_on(tmp_path: Path, **own: Any) -> Path:
    """A model in a folder of its own with the tiny model beside it as its base."""
    (tmp_path / "models").mkdir(exist_ok=True)
    make_tiny_model(tmp_path / "models", kind="sfc")
    return write(tmp_path, {"base": "models/tiny.yaml", "name": "mine", "summary": "a test", **own})


def test_what_a_manifest_does_not_say_comes_from_its_base(tmp_path: Path) -> None:
    manifest = read_manifest(based_on(tmp_path, preprocessing={"stride": 3}))
    assert (manifest.name, manifest.labels) == ("mine", ("jump", "run", "swim"))
    assert (manifest.preprocessing.stride, manifest.preprocessing.crop) == (3, 16)
    base = load_model(tmp_path / "models" / "tiny.yaml").network.state_dict()
    for key, value in load_variant(manifest).network.state_dict().items():
        assert torch.equal(value, base[key])


def test_a_head_takes_the_place_of_the_last_layer(tmp_path: Path) -> None:
    save_file(
        {
            "stages.classifier.linear.weight": torch.zeros(2, 1280),
            "stages.classifier.linear.bias": torch.tensor([0.0, 9.0]),
        },
        tmp_path / "head.safetensors",
    )
    file = based_on(tmp_path, labels=["no", "yes"], backbone={"classes": 2, "head": {"file": "head.safetensors"}})
    model = load_model(file)
    assert model.network(torch.zeros(1, 3, 4, 32, 32)).logits.tolist() == [[0.0, 9.0]]
    heir = write(tmp_path / "models", {"base": str(file), "name": "heir", "summary": "of an heir"})
    assert load_model(heir).network(torch.zeros(1, 3, 4, 32, 32)).logits.tolist() == [[0.0, 9.0]]
    assert fingerprint(model.manifest) != fingerprint(read_manifest(based_on(tmp_path)))


def test_a_sibling_has_the_head_of_the_model_that_is_asked_for_it(tmp_path: Path) -> None:
    weights = {
        f"stages.classifier.{stream}.linear.{part}": torch.zeros(2, 1280)
        if part == "weight"
        else torch.tensor([0.0, 2.0])
        for stream in ("appearance", "motion")
        for part in ("weight", "bias")
    }
    save_file(weights, tmp_path / "head.safetensors")
    own = {"labels": ["no", "yes"], "backbone": {"classes": 2, "head": {"file": "head.safetensors"}}}
    file = write(tmp_path, {"base": "ucf16-lite0", "name": "mine", "summary": "a test", **own})
    model = load_model(file, Variant("sgs"))
    assert ([section.kind for section in model.manifest.compressors], model.manifest.name) == (["sgs"], "mine")
    assert (model.labels, model.network.eval()(torch.zeros(1, 3, 16, 64, 64)).logits.tolist()) == (
        ("no", "yes"),
        [[0.0, 4.0]],
    )


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("no-such-model", r"base: unknown model 'no-such-model'"),
        ("gone.yaml", r"base: .*gone\.yaml: there is no such manifest"),
        (["a", "b"], r"base: name one model"),
        ("mine.yaml", r"base: it is, by mine\.yaml, its own base"),
    ],
)
def test_a_wrong_base_is_told_in_one_line(tmp_path: Path, base: object, message: str) -> None:
    path = write(tmp_path, {"base": base, "name": "mine", "summary": "a test"})
    with pytest.raises(ManifestError, match=message) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
