"""The YAML manifest of a model: backbone, compressors, weights, labels, preprocessing, and where its numbers come from.

A manifest is data. Unknown keys are errors, YAML tags are not honored, and a weights file named by it must lie in the
manifest's own folder or below, unless it is given by an absolute ``path``. What a manifest does not say, it may take
from the one it names as its ``base``. A file that ships may hold the models of a family: what stands under one of its
``variants`` is said of that model, and all else of each.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from vidcomp.zoo import ManifestError

# The same as yaml.SafeLoader, several times as fast where PyYAML was built with its C library.
_SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PACKAGE = Path(__file__).resolve().parent.parent
# The keys that say where weights lie; a source has exactly one.
_LOCATIONS = ("file", "path", "url", "torchvision")
# Of these keys a manifest may change some inner ones of its base; others it takes whole or replaces whole.
_JOINED = ("backbone", "preprocessing")
# What is said of the base alone.
_NOT_INHERITED = {"name", "summary", "gmacs", "reported", "measured", "base", "origin"}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _inside_folder(name: str) -> str:
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("must be relative to the manifest and stay in its folder; use 'path' for a file elsewhere")
    return name


def _web_address(url: str) -> str:
    if not url.startswith(("https://", "http://")):
        raise ValueError("must begin with https:// or http://")
    return url


class WeightsSource(_Section):
    """Where weights lie: exactly one of ``file``, ``path``, ``url``, ``torchvision``; and ``more`` files if parted."""

    file: Annotated[
        str | None,
        AfterValidator(lambda v: v if v is None else _inside_folder(v)),
        Field(description="a safetensors file, relative to the manifest"),
    ] = None
    path: str | None = Field(None, description="a safetensors file anywhere on this machine, as an absolute path")
    url: Annotated[
        str | None,
        AfterValidator(lambda v: v if v is None else _web_address(v)),
        Field(
            description="where a file can be downloaded: safetensors with its sha256, or a checkpoint of the kind "
            "that format names"
        ),
    ] = None
    format: Literal["mmaction2", "pytorchvideo", "tpn", "vmz", "torchvision", "i3d"] | None = Field(
        None, description="who published the url's checkpoint, which is converted when it has been downloaded"
    )
    torchvision: str | None = Field(
        None, description="a member of torchvision's weight enums, such as R3D_18_Weights.KINETICS400_V1"
    )
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{8,64}$",
        description="checksum of the file, 64 hex digits; with a format, as many as the publisher gives",
    )
    more: tuple[WeightsSource, ...] = Field((), description="further files, which hold the rest of the tensors")
    replaces: bool = Field(
        False, description="true where the file's tensors take the place of those of the same name in the files before"
    )

    @model_validator(mode="after")
    def _one_location(self) -> WeightsSource:
        given = [name for name in _LOCATIONS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of {', '.join(_LOCATIONS)}, not {' and '.join(given) or 'none'}")
        if self.format is not None and self.url is None:
            raise ValueError("format is said of a url; convert other files first (vidcomp models convert)")
        if self.format is None and len(self.sha256 or "") not in ((64,) if self.url else (0, 64)):
            raise ValueError(
                "a url needs the file's sha256 beside it" if self.url else "sha256 must have 64 hex digits"
            )
        if self.path is not None and not Path(self.path).is_absolute():
            raise ValueError("path must be absolute; use 'file' for one relative to the manifest")
        return self

    @property
    def parts(self) -> tuple[WeightsSource, ...]:
        """This file and those that hold the rest, all in a row."""
        return (self, *(part for source in self.more for part in source.parts))

    def seen_from(self, folder: Path, origin: Path) -> WeightsSource:
        """The same source, of the manifest ``origin``, as a manifest in ``folder`` must name it."""
        if origin.parent == folder.resolve():
            return self
        more = tuple(part.seen_from(folder, origin) for part in self.more)
        path = self.path if self.file is None else str((origin.parent / self.file).resolve())
        return self.model_copy(update={"file": None, "path": path, "more": more})


class BackboneSection(_Section):
    """The network that the model cuts."""

    family: str = Field(description="name of the backbone family")
    classes: int = Field(ge=1, description="number of classes that the classifier tells apart")
    options: dict[str, Any] = Field(default_factory=dict, description="the family's own options")
    weights: WeightsSource | None = Field(None, description="where the backbone's weights lie; absent if none exist")
    head: WeightsSource | None = Field(
        None, description="a safetensors file of the last layer, which takes the place of that in the weights"
    )
    fitted_to: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{16}$",
        description="which network the head was fitted to, as vidcomp train head writes it; another one is an error",
    )

    @model_validator(mode="after")
    def _head_fits(self) -> BackboneSection:
        if self.head is not None and self.fitted_to not in (None, self.identity):
            raise ValueError("its last layer was fitted to another network than its base is now; fit it again")
        return self

    @property
    def identity(self) -> str:
        """16 hex digits over family, options and the checksums of the weights, whatever the last layer is."""
        parts = self.weights.parts if self.weights else ()
        said = [self.family, self.options, *(part.sha256 or part.url or part.torchvision for part in parts)]
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:16]

    @property
    def has_weights(self) -> bool:
        """Whether there are weights, in files that are named here or in the repository that the options name."""
        return self.weights is not None or "repo" in self.options

    @property
    def sources(self) -> WeightsSource | None:
        """The weights with those of the head in their place; ``None`` if there are no weights."""
        if self.weights is None or self.head is None:
            return self.weights
        head = self.head.model_copy(update={"replaces": True})
        return self.weights.model_copy(update={"more": (*self.weights.more, head)})


class CompressorSection(_Section):
    """A compressor and where it stands."""

    cut: str = Field(description="name of the stage after which the compressor stands")
    kind: str = Field(description="name of the compressor")
    options: dict[str, Any] = Field(default_factory=dict, description="the compressor's own options, such as tau")
    weights: WeightsSource | None = Field(None, description="where the compressor's weights lie; absent if untrained")


class PreprocessingSection(_Section):
    """How the weights want to be fed, where that differs from the backbone family's own specification."""

    clip_frames: int | None = Field(None, ge=1, description="frames of a clip")
    stride: int | None = Field(None, ge=1, description="source frames from one frame of a clip to the next")
    fps: float | None = Field(None, gt=0, le=1000, description="frames per second that the network was trained on")
    shortest: int | None = Field(None, ge=1, description="fewest frames of a whole video; a shorter one is filled up")
    short_side: int | None = Field(None, ge=16, description="shorter side of a whole frame in pixels")
    crop: int | None = Field(None, ge=16, description="side of a dense view's square in pixels")
    central: bool | None = Field(None, description="whether only the central square of a whole video is used")
    interpolation: Literal["bicubic", "area"] | None = Field(
        None, description="how its training frames were scaled: bicubic or area"
    )
    mean: tuple[float, float, float] | None = Field(None, description="RGB mean on a scale of 0 to 1")
    std: tuple[float, float, float] | None = Field(None, description="RGB standard deviation on a scale of 0 to 1")


class Manifest(_Section):
    """All that is needed to rebuild a model, and what is claimed of it."""

    base: str | None = Field(
        None,
        description="a model that ships, or another manifest's path; everything that is not given here comes from it",
    )
    name: str = Field(
        pattern=r"^(hf:[\w.-]+/[\w.@/-]+|[A-Za-z0-9][A-Za-z0-9._+-]*)$", description="the name that users type"
    )
    summary: str = Field(description="one line that says what the model is")
    group: str = Field("", description="the family of networks under which it is listed")
    backbone: BackboneSection = Field(description="the network that the model cuts")
    compressors: tuple[CompressorSection, ...] = Field(min_length=1, description="compressors in the network's order")
    alternatives: dict[str, tuple[CompressorSection, ...]] = Field(
        default_factory=dict,
        description="compressors that may be chosen instead, by their kinds, joined by + in the network's order",
    )
    siblings: dict[str, str] = Field(
        default_factory=dict,
        description="the same model with other compressors: kinds, joined by +, and names that ship",
    )
    labels: str | tuple[str, ...] = Field(description="name of a label list that ships, or the labels themselves")
    only: tuple[str, ...] = Field((), description="labels to choose among, if not among all of them")
    preprocessing: PreprocessingSection = Field(
        default_factory=PreprocessingSection,
        description="where preprocessing differs from the family's",
    )
    max_frames: int = Field(4096, ge=1, description="longest video that is passed whole, in frames of the file")
    gmacs: float | None = Field(
        None, gt=0, description="GMACs of ten seconds as it is passed by default: 250 frames of 340x256 pixels"
    )
    reported: tuple[dict[str, str | float | int], ...] = Field((), description="numbers claimed elsewhere, with source")
    measured: tuple[dict[str, str | float | int], ...] = Field((), description="numbers measured with these weights")
    source: str = Field("", description="where the weights and the numbers come from, and how to get them")
    license: str = Field("", description="license of the weights and of the data behind them")
    origin: Path = Field(Path(), exclude=True, description="the manifest's own file")

    def with_changes(self, **changes: Any) -> Manifest:
        """Return a copy with other values, checked again."""
        return Manifest.model_validate({**dict(self), **changes})


def models_folder() -> Path:
    """The folder of the manifests that ship: within the installed package, or at the top of a checkout."""
    packaged = _PACKAGE / "_models"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "models"


def model_names() -> list[str]:
    """The names of all models that ship or are known, in alphabetical order."""
    return sorted(name for _, contents in _shipped() for name in contents)


def list_manifests() -> list[Manifest]:
    """Every manifest that ships, by name."""
    return sorted(
        (_checked(path, content) for path, contents in _shipped() for content in contents.values()),
        key=lambda manifest: manifest.name,
    )


def find_manifest(name_or_file: str | Path) -> Manifest:
    """Find a manifest by the name of a model that ships or of a repository on the Hugging Face Hub (``hf:OWNER/NAME``),
    or by the path of a YAML file; a ``Path`` is always a file's.

    A model's name with ``-sgs``, say, behind it is the model with these compressors, of those that it offers.

    Raises:
        ManifestError: there is none, or it is not valid.
        TypeError: it is neither a name nor a path.
    """
    if not isinstance(name_or_file, (str, Path)):
        raise TypeError(f"a model is named by a str or a pathlib.Path, not by {type(name_or_file).__name__}")
    if isinstance(name_or_file, Path) or name_or_file.endswith((".yaml", ".yml")):
        return read_manifest(Path(name_or_file))
    if name_or_file.startswith("hf:"):
        from vidcomp.zoo.hub import manifest_of

        return manifest_of(name_or_file)
    names: list[str] = []
    found: tuple[Path, dict[str, Any]] | None = None
    for path, contents in _shipped():
        names += contents
        # Of several that it begins with, the longest.
        for name in contents:
            if name_or_file == name or (
                name_or_file.startswith(f"{name}-") and (found is None or len(name) > len(found[1]["name"]))
            ):
                found = path, contents[name]
        if found is not None and found[1]["name"] == name_or_file:
            return _checked(*found)
    if found is not None:
        manifest = _checked(*found)
        wanted = name_or_file.removeprefix(f"{manifest.name}-").replace("-", "+")
        if wanted == "+".join(section.kind for section in manifest.compressors):
            return manifest.with_changes(name=name_or_file)
        if wanted in manifest.alternatives:
            return manifest.with_changes(name=name_or_file, compressors=manifest.alternatives[wanted])
    near = difflib.get_close_matches(name_or_file.lower(), names, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}? " if near else ""
    raise ManifestError(
        f"unknown model {name_or_file!r}: {hint}'vidcomp models list' names all; a file's name must end in .yaml"
    )


def _shipped() -> Iterator[tuple[Path, dict[str, dict[str, Any]]]]:
    """The files that ship, each with its manifests' content by name."""
    for path in sorted(models_folder().glob("*.yaml")):
        yield path, _variants(read_mapping(path, "manifest", "name: my-model"))


def _variants(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The manifests in a file's content, by name: one, or its variants, each with what is said of all."""
    if not isinstance(variants := content.get("variants"), dict):
        return {str(content.get("name")): content}
    common = {key: value for key, value in content.items() if key != "variants"}
    return {name: _merged(common, {"name": name, **own}) for name, own in variants.items()}


def _merged(common: Any, own: Any) -> Any:
    """What is said of one, over what is said of all: mappings are merged, and anything else is replaced."""
    if not isinstance(common, dict) or not isinstance(own, dict):
        return own
    return {**common, **{key: _merged(common.get(key), value) for key, value in own.items()}}


def read_manifest(path: Path, _heirs: tuple[Path, ...] = ()) -> Manifest:
    """Read and check one manifest, with what it takes from its base.

    Raises:
        ManifestError: the file is missing, is not YAML, or a key is wrong; the line names the key and its meaning.
    """
    try:
        content = read_mapping(path, "manifest", "name: my-model")
    except SchemaError as error:
        raise ManifestError(str(error)) from None
    return _checked(path, content, _heirs)


def _checked(path: Path, content: dict[str, Any], heirs: tuple[Path, ...] = ()) -> Manifest:
    if content.get("base") is not None:
        content = _with_inherited(content, path.resolve(), heirs)
    try:
        return Manifest.model_validate({**content, "origin": path.resolve()})
    except ValidationError as error:
        raise ManifestError(f"{path}: {first_problem(error, Manifest)}") from None


def _with_inherited(content: dict[str, Any], path: Path, heirs: tuple[Path, ...]) -> dict[str, Any]:
    """The keys of the manifest at ``path``, and beneath them those of its base; ``heirs`` are those based on it."""
    name = content["base"]
    if not isinstance(name, str):
        raise ManifestError(f"{path}: base: name one model that ships, or the path of a .yaml manifest, not {name!r}")
    if path in heirs:
        raise ManifestError(f"{path}: base: it is, by {name}, its own base; name another model")
    is_file = name.endswith((".yaml", ".yml"))
    try:
        base = read_manifest(path.parent / name, (*heirs, path)) if is_file else find_manifest(name)
    except ManifestError as error:
        raise error if str(error).startswith(str(path)) else ManifestError(f"{path}: base: {error}") from None
    inherited = {key: value for key, value in dict(base).items() if key not in _NOT_INHERITED}
    inherited["backbone"] = base.backbone.model_copy(
        update={
            key: source.seen_from(path.parent, base.origin)
            for key, source in (("weights", base.backbone.weights), ("head", base.backbone.head))
            if source is not None
        }
    )

    def seen(sections: tuple[CompressorSection, ...]) -> tuple[CompressorSection, ...]:
        return tuple(
            section
            if section.weights is None
            else section.model_copy(update={"weights": section.weights.seen_from(path.parent, base.origin)})
            for section in sections
        )

    inherited["compressors"] = seen(base.compressors)
    inherited["alternatives"] = {kinds: seen(sections) for kinds, sections in base.alternatives.items()}
    joined = {key: {**dict(inherited[key]), **content[key]} for key in _JOINED if isinstance(content.get(key), dict)}
    return {**inherited, **content, **joined}


class SchemaError(ValueError):
    """The file is not what it must be: the message begins with its path."""


class _Loader(_SAFE_LOADER):  # type: ignore[misc, valid-type]
    """Reads plain data; a key that stands twice, of which PyYAML keeps the second in silence, is an error."""

    def get_single_node(self) -> yaml.Node | None:
        root: yaml.Node | None = super().get_single_node()
        waiting, met = [root], set()
        while waiting:
            node = waiting.pop()
            if not isinstance(node, yaml.CollectionNode) or node in met:
                continue
            met.add(node)
            if isinstance(node, yaml.SequenceNode):
                waiting += node.value
                continue
            keys: dict[tuple[str, str], yaml.Mark] = {}
            for key, value in node.value:
                waiting.append(value)
                first = keys.setdefault((key.tag, str(key.value)), key.start_mark)
                if first is not key.start_mark:
                    problem = f"the key {key.value} stands twice, first in line {first.line + 1}"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        return root


def parse_yaml(text: str) -> Any:
    """What YAML text says; tags are not honored.

    Raises:
        yaml.YAMLError: it is not YAML, or says a key twice.
    """
    return yaml.load(text, Loader=_Loader)


def read_mapping(path: Path, what: str, example: str, *, empty: bool = False) -> dict[str, Any]:
    """The keys and values of a YAML file; tags are not honored.

    Args:
        path: the file.
        what: what it is called in messages.
        example: a line that it might have.
        empty: whether it may have no keys at all.

    Raises:
        SchemaError: it is missing, cannot be read, is not YAML, or says a key twice, or holds no mapping.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
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
    name = meaning = ""
    for part in first["loc"]:
        field = section.model_fields.get(str(part)) if section is not None else None
        if field is not None:
            name, meaning, section = str(part), field.description or "", _section_in(field.annotation)
    key = ".".join(str(part) for part in first["loc"])
    what = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        fields = (section or model).model_fields
        allowed = ", ".join(name for name, field in fields.items() if not field.exclude)
        what, meaning = f"unknown key; allowed here are {allowed}", ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    said = f"{key}: {what}" if key else what
    return said + (f" — {name} is {meaning}" if meaning else "") + more


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The model that values of this type are, or hold."""
    if parts := typing.get_args(annotation):
        return next((found for part in parts if (found := _section_in(part))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
