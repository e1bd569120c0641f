"""Models on the Hugging Face Hub, named ``hf:OWNER/NAME`` (or ``hf:OWNER/NAME@REVISION``).

A repository holds either a manifest, ``vidcomp.yaml``, with its weights, as :func:`push` writes them; or a video
classifier of transformers, whose own processor says how it is fed. What was fetched is in huggingface_hub's own cache,
and its environment variables (``HF_HOME``, ``HF_ENDPOINT``, ``HF_TOKEN``) apply.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from vidcomp.nn.backbones import Backbone
from vidcomp.nn.backbones.transformers_video import wrapped
from vidcomp.zoo import ManifestError, WeightsError, ZooError
from vidcomp.zoo.downloads import offline
from vidcomp.zoo.labels import labels_of
from vidcomp.zoo.manifest import Manifest, PreprocessingSection, WeightsSource, read_manifest

MANIFEST = "vidcomp.yaml"
FAMILY = "transformers"


def manifest_of(name: str) -> Manifest:
    """The model of a repository.

    Raises:
        ManifestError: there is no such repository, it holds no model, or a library for it is not installed.
        WeightsError: it cannot be reached.
    """
    with _explained(name):
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        repo, revision = _parted(name)
        where = _where(revision)
        try:
            file = Path(hf_hub_download(repo, MANIFEST, **where))
        except EntryNotFoundError:
            return _of_transformers(name, repo, where)
        # The file is a link out of the folder in which the weights' links lie.
        manifest = read_manifest(file).with_changes(origin=file)
        for source in _files_of(manifest):
            hf_hub_download(repo, str(source.file), **where)
        return manifest


def load_backbone(manifest: Manifest) -> Backbone:
    """The network of a repository of transformers with its weights.

    Raises:
        WeightsError: they cannot be had, or lack what the classifier needs.
    """
    with _explained(manifest.name):
        from transformers import AutoModelForVideoClassification

        options = manifest.backbone.options
        network, report = AutoModelForVideoClassification.from_pretrained(
            options["repo"], **_where(options["revision"]), **_NO_CODE, output_loading_info=True
        )
        if missing := sorted(report["missing_keys"]):
            raise WeightsError(
                f"{manifest.name}: its weights lack {missing[0]}, so it classifies nothing; choose a fine-tuned one"
            )
        backbone = wrapped(network.float().eval(), options["config"])
    return backbone


def _of_transformers(name: str, repo: str, where: dict[str, Any]) -> Manifest:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES

    found = AutoConfig.from_pretrained(repo, **where, **_NO_CODE)
    if found.model_type not in MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES:
        kinds = ", ".join(MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES)
        raise ManifestError(
            f"{name}: a {found.model_type} classifies no videos; of these kinds are models that do: {kinds}"
        )
    config = json.loads(found.to_json_string(use_diff=False))
    labels = tuple(str(found.id2label[number]) for number in range(found.num_labels))
    revision = getattr(found, "_commit_hash", None) or where["revision"]
    return Manifest(
        name=name,
        summary=f"{found.model_type} of {repo}, on the Hugging Face Hub",
        backbone={
            "family": FAMILY,
            "classes": len(labels),
            "options": {"config": config, "repo": repo, "revision": revision},
        },
        compressors=({"cut": "frames", "kind": "identity"},),
        labels=labels,
        preprocessing=_feeding(repo, where, config),
        source=f"https://huggingface.co/{repo}",
        license="that of the repository",
    )


def _feeding(repo: str, where: dict[str, Any], config: dict[str, Any]) -> PreprocessingSection:
    """What the repository's processor makes of frames: their size, and numbers in a straight line with the pixels."""
    from transformers import AutoImageProcessor, AutoVideoProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(repo, **where, **_NO_CODE)
    except (OSError, ValueError):
        try:
            processor = AutoVideoProcessor.from_pretrained(repo, **where, **_NO_CODE)
        except (OSError, ValueError):
            raise ManifestError(f"hf:{repo}: it has no processor that says how to prepare videos") from None
    frames = config.get("num_frames") or config.get("frames_per_clip") or 16

    def fed(value: int) -> torch.Tensor:
        clip = [np.full((256, 256, 3), value, np.uint8)] * frames
        (clip_tensor,) = (torch.as_tensor(np.asarray(part)) for part in processor(clip, return_tensors="np").values())
        return clip_tensor.flatten(0, -4)[0].double()

    black, white = fed(0), fed(255)
    side = white.shape[-1]
    scale = (white - black)[:, 0, 0]
    size = dict(processor.size)
    short_side = size.get("shortest_edge") or size.get("height") or side
    return PreprocessingSection(
        short_side=max(short_side, side),
        crop=side,
        mean=tuple((-black[:, 0, 0] / scale).tolist()),
        std=tuple((1 / scale).tolist()),
    )


def check_pushable(name: str) -> None:
    """Make sure, before hours of work, that a repository could be called so and the library for it is there.

    Raises:
        ManifestError: it could not, or is not.
    """
    _parted(name)
    with _explained(name):
        import huggingface_hub  # noqa: F401 - only whether it can be


def push(manifest_file: Path, name: str) -> str:
    """Upload a manifest with its weights, as one that needs no other; returns the repository's address.

    Raises:
        ManifestError: the manifest or the name is not valid, or huggingface_hub is not installed.
        WeightsError: the Hub cannot be reached, or refuses.
    """
    manifest = read_manifest(manifest_file)
    repo, revision = _parted(name)
    content = manifest.model_dump(mode="json", exclude={"base", "origin", "siblings"}, exclude_defaults=True)
    content["labels"] = list(labels_of(manifest))
    files: dict[str, Path] = {}
    _gather(content, manifest.origin.parent, files)
    with _explained(name, "cannot be uploaded"), tempfile.TemporaryDirectory() as folder:
        from huggingface_hub import CommitOperationAdd, HfApi

        card = Path(folder) / "README.md"
        card.write_text(_CARD.format(name=name, summary=manifest.summary), encoding="utf-8")
        written = Path(folder) / MANIFEST
        written.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
        api = HfApi()
        api.create_repo(repo, exist_ok=True)
        uploads = {MANIFEST: written, "README.md": card, **files}
        operations = [CommitOperationAdd(path, str(file)) for path, file in uploads.items()]
        message = f"{manifest.name}, by vidcomp"
        api.create_commit(repo, operations, commit_message=message, revision=revision)
        return f"{api.endpoint}/{repo}"


_CARD = """---
library_name: vidcomp
pipeline_tag: video-classification
---

{summary}

    vidcomp.load("{name}")("video.mp4")
"""


def _gather(section: Any, folder: Path, files: dict[str, Path]) -> None:
    """Bring every file that is named to the manifest's own folder; of two with one name the second gets a number."""
    for value in section.values() if isinstance(section, dict) else section if isinstance(section, list) else ():
        _gather(value, folder, files)
    if not isinstance(section, dict) or not ({"file", "path"} & section.keys()):
        return
    source = folder / (section.pop("path", None) or section["file"])
    wanted = next((name for name, file in files.items() if file == source), None) or source.name
    if files.get(wanted, source) != source:
        wanted = f"{len(files)}-{wanted}"
    files[wanted] = source
    section["file"] = wanted


# A repository's own code is never run, nor is the user asked whether it may be.
_NO_CODE = {"trust_remote_code": False}


def _where(revision: str | None) -> dict[str, Any]:
    return {"revision": revision, "local_files_only": offline() is not None}


def _files_of(manifest: Manifest) -> Iterator[WeightsSource]:
    from vidcomp.zoo.downloads import sources_of

    for source in sources_of(manifest):
        yield from (part for part in (source.parts if source else ()) if part.file is not None)


def _parted(name: str) -> tuple[str, str | None]:
    """Repository and revision of a name such as hf:OWNER/NAME@REVISION."""
    repo, _, revision = name.removeprefix("hf:").partition("@")
    if not name.startswith("hf:") or repo.count("/") != 1 or not all(repo.split("/")):
        raise ManifestError(f"{name!r}: a repository is named hf:OWNER/NAME")
    return repo, revision or None


@contextmanager
def _explained(name: str, failed: str = "not available") -> Iterator[None]:
    """Within this, what the libraries say of a repository becomes one line."""
    try:
        yield
    except ZooError:
        raise
    except ImportError as error:
        raise ManifestError(f"{name}: {error.name or error} is not installed: pip install 'vidcomp[hf]'") from None
    except Exception as error:  # a server, a network and four libraries fail in any of dozens of ways
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(". ")
        # Of what these say, that a repository is absent or cannot be reached says least.
        unreachable = type(error).__module__.partition(".")[0] in ("huggingface_hub", "httpx", "requests")
        by = offline()
        hint = f"; {by} forbids to fetch it" if by else "; check the name and the network" if unreachable else ""
        raise WeightsError(f"{name}: {failed} ({reason}){hint}") from None
