"""Public checkpoints convert whole, load strictly and run; what does not fit is said in one line."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.zoo.public_checkpoints import CHECKPOINTS, slow_inflation, tensors, vmz_34
from tests.zoo.public_checkpoints import mmaction2 as mmaction2_shapes
from vidcomp.nn.backbones import BACKBONES
from vidcomp.zoo import WeightsError
from vidcomp.zoo.convert import SOURCES, Rename, Source, convert, convert_file, recognize_family


def meta(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


@pytest.mark.parametrize(("source", "family"), CHECKPOINTS)
def test_a_public_checkpoint_is_recognized_and_every_key_accounted_for(source: str, family: str) -> None:
    shapes = CHECKPOINTS[source, family]
    converted, report = recognize_family(meta(shapes), SOURCES[source])
    assert report.family == family
    assert report.classes == 400
    assert set(report.renamed) | set(report.unused) | set(report.used) == set(shapes)
    assert not report.unknown
    assert not report.missing
    assert not report.mismatched
    # Only the auxiliary head of TPN's training stays behind.
    assert all("aux_head" in key for key in report.unused)
    with torch.device("meta"):
        network = BACKBONES[family]()
    network.load_state_dict(converted, strict=True, assign=True)


@pytest.mark.parametrize(
    ("source", "family"), [("pytorchvideo", "i3d_r50"), ("tpn", "tpn_r50"), ("vmz", "r2plus1d_34")], ids="/".join
)
def test_what_was_converted_runs(source: str, family: str) -> None:
    converted, _ = recognize_family(tensors(CHECKPOINTS[source, family]), SOURCES[source])
    with torch.device("meta"):
        network = BACKBONES[family]()
    network.load_state_dict(converted, strict=True, assign=True)
    with torch.inference_mode():
        logits = network.eval()(torch.randn(1, 3, 8, 32, 32))
    assert logits.shape == (1, 400)
    assert logits.isfinite().all()


def test_every_tensor_of_a_block_arrives_where_it_belongs() -> None:
    original = tensors(CHECKPOINTS["pytorchvideo", "slow_r50"])
    converted, _ = recognize_family(original, SOURCES["pytorchvideo"])
    for theirs, ours in {
        "blocks.0.norm.running_var": "stages.stem.conv.bn.running_var",
        "blocks.2.res_blocks.3.branch2.conv_b.weight": "stages.res3.3.branch.spatial.conv.weight",
        "blocks.4.res_blocks.0.branch1_norm.bias": "stages.res5.0.shortcut.bn.bias",
        "blocks.5.proj.bias": "stages.classifier.linear.bias",
    }.items():
        assert converted[ours] is original[theirs]


def test_tpns_two_publishers_agree_on_which_flow_is_which() -> None:
    release = convert_names("tpn", "tpn_r50")
    mmaction2 = convert_names("mmaction2", "tpn_r50")
    assert (
        release["necks.level_fusion_op2.fusion_conv.0.weight"]
        == mmaction2["neck.level_fusion_1.fusion_conv.conv.weight"]
    )
    assert (
        release["necks.level_fusion_op.fusion_conv.0.weight"]
        == mmaction2["neck.level_fusion_2.fusion_conv.conv.weight"]
    )


def convert_names(source: str, family: str) -> dict[str, str]:
    _, report = recognize_family(meta(CHECKPOINTS[source, family]), SOURCES[source])
    return dict(report.renamed)


def test_the_number_of_classes_is_the_checkpoints() -> None:
    _, report = recognize_family(meta(vmz_34(classes=359)), SOURCES["vmz"])
    assert (report.family, report.classes) == ("r2plus1d_34", 359)


def test_step_counters_that_a_publisher_left_out_are_filled() -> None:
    shapes = {k: v for k, v in CHECKPOINTS["tpn", "slow_r50"].items() if not k.endswith("num_batches_tracked")}
    converted, report = recognize_family(tensors(shapes), SOURCES["tpn"])
    assert report.filled
    assert all(key.endswith("num_batches_tracked") for key in report.filled)
    with torch.device("meta"):
        network = BACKBONES["slow_r50"]()
    network.load_state_dict(converted, strict=True, assign=True)


def test_a_shape_that_does_not_fit_names_the_key_and_both_shapes() -> None:
    shapes = dict(CHECKPOINTS["mmaction2", "slow_r50"])
    shapes["backbone.conv1.conv.weight"] = (64, 3, 2, 7, 7)
    with pytest.raises(
        WeightsError,
        match=r"^backbone\.conv1\.conv\.weight has shape \(64, 3, 2, 7, 7\), but slow_r50 needs \(64, 3, 1, 7, 7\)$",
    ):
        recognize_family(meta(shapes), SOURCES["mmaction2"])


def test_a_missing_tensor_is_named() -> None:
    shapes = dict(CHECKPOINTS["mmaction2", "slow_r50"])
    del shapes["backbone.layer3.2.conv1.bn.bias"]
    with pytest.raises(
        WeightsError, match=r"^nothing .* gives slow_r50 its stages\.res4\.2\.branch\.reduce\.bn\.bias$"
    ):
        recognize_family(meta(shapes), SOURCES["mmaction2"])


def test_a_tensor_that_the_network_has_no_place_for_is_named_not_dropped() -> None:
    shapes = CHECKPOINTS["mmaction2", "slow_r50"] | {"backbone.layer2.1.non_local_block.g.weight": (256, 512, 1, 1, 1)}
    with pytest.raises(
        WeightsError, match=r"^backbone\.layer2\.1\.non_local_block\.g\.weight has no place in slow_r50$"
    ):
        recognize_family(meta(shapes), SOURCES["mmaction2"])


def test_two_keys_that_become_one_are_reported() -> None:
    with torch.device("meta"):
        network = BACKBONES["lite0_slow"](classes=2)
    source = Source("", {"lite0_slow": (Rename(r"^b\.", "a."), Rename(r"^a\.", "stages."))}, (0, 0, 0), (1, 1, 1))
    key = next(iter(network.state_dict()))
    shape = tuple(network.state_dict()[key].shape)
    names = {key.replace("stages.", prefix): shape for prefix in ("a.", "b.")}
    _, report = convert(meta(names), source, "lite0_slow", network)
    assert list(report.unused.values()) == [f"another key has already become {key}"]


def test_a_family_that_a_source_does_not_publish_lists_those_it_does() -> None:
    with pytest.raises(
        WeightsError, match=r"^backbone 's3d' .*: choose one of r2plus1d_34, r2plus1d_50, r2plus1d_152$"
    ):
        recognize_family({}, SOURCES["vmz"], "s3d")


def test_a_file_is_read_with_and_without_its_container(tmp_path: Path) -> None:
    checkpoint = tensors(mmaction2_shapes(slow_inflation, 1, classes=3))
    torch.save({"meta": {"epoch": 7}, "state_dict": checkpoint}, tmp_path / "wrapped.pth")
    torch.save(checkpoint, tmp_path / "bare.pth")
    for name in ("wrapped.pth", "bare.pth"):
        converted, report = convert_file(tmp_path / name, SOURCES["mmaction2"])
        assert (report.family, report.classes) == ("slow_r50", 3)
        assert torch.equal(converted["stages.classifier.linear.bias"], checkpoint["cls_head.fc_cls.bias"])


class _Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('the pickle ran code')",))


def test_a_pickle_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(_Malicious()))
    with pytest.raises(WeightsError, match="not readable as a checkpoint of tensors"):
        convert_file(path, SOURCES["vmz"])
    torch.save({"state_dict": _Malicious()}, path)
    with pytest.raises(WeightsError, match="not readable as a checkpoint of tensors"):
        convert_file(path, SOURCES["vmz"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty, not a checkpoint"),
        (b"these are not weights", r"not readable as a checkpoint of tensors \(it is not torch's, or it is damaged\)$"),
        (b"PK\x03\x04 cut", r"not readable as a checkpoint of tensors \(PytorchStreamReader [^.]*\)$"),
        ([1, 2], "holds a list, not a dictionary of tensors"),
        ({"epoch": 3}, "holds no tensors; its keys are epoch"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "file.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(WeightsError, match=message) as error:
        convert_file(path, SOURCES["vmz"])
    assert "\n" not in str(error.value)
    with pytest.raises(WeightsError, match="there is no such checkpoint"):
        convert_file(tmp_path / "absent.pth", SOURCES["vmz"])
    with pytest.raises(WeightsError, match="it is a folder, not a checkpoint"):
        convert_file(tmp_path, SOURCES["vmz"])


@pytest.mark.parametrize("family", SOURCES["torchvision"].families)
def test_torchvisions_networks_are_ours_with_other_names(family: str) -> None:
    from torchvision.models import get_model

    with torch.device("meta"):
        original = get_model(family).state_dict()
    _, report = recognize_family(original, SOURCES["torchvision"], family)
    assert report.problems == 0
    assert report.classes == 400
    assert set(report.renamed) | set(report.used) == set(original)
