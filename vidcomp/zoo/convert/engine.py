"""Rules from a publisher's keys to ours, and running them over a checkpoint.

Every key ends up used, renamed, unused, missing or mismatched.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vidcomp.files import replacing
from vidcomp.nn.backbones import BACKBONES, CLASSIFIER, Backbone
from vidcomp.nn.backbones.base import Normalization
from vidcomp.zoo import WeightsError
from vidcomp.zoo.downloads import sha256_of

_COUNTER = "num_batches_tracked"
# Under which key publishers put the tensors, where the file holds other things too.
_CONTAINERS = ("model_state", "state_dict", "model_state_dict", "model")
# What torch's parallel trainers put before each name.
_PARALLEL = "module."


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

    ``families`` gives, for each backbone family that is published, the rules for its keys. ``normalization`` is what
    the weights want, where that is not the backbone's own. ``read`` reads a file that is neither torch's nor
    safetensors, and brings its tensors to torch's order of axes; it may raise anything.
    """

    summary: str
    families: Mapping[str, Sequence[Rule]]
    normalization: Normalization | None
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


@dataclass(frozen=True)
class ConversionReport:
    """What became of every key of a checkpoint and of the network.

    ``used`` went in under the name they had, ``renamed`` under another (old → new); ``unused`` did not go in (key →
    why; an empty reason means that no rule knows the key); ``missing`` are the network's keys that nothing gave;
    ``mismatched`` fit no shape (old key → its shape, the network's); ``filled`` are BatchNorm's step counters, which
    some publishers leave out and inference never reads: they are set to zero.
    """

    family: str
    classes: int
    used: tuple[str, ...]
    renamed: Mapping[str, str]
    unused: Mapping[str, str]
    missing: tuple[str, ...]
    mismatched: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    filled: tuple[str, ...]

    @property
    def unknown(self) -> tuple[str, ...]:
        """The unused keys that no rule knows: the checkpoint is of a network with more in it."""
        return tuple(key for key, why in self.unused.items() if not why)

    @property
    def problems(self) -> int:
        """How many keys stand in the way of loading the result."""
        return len(self.unknown) + len(self.missing) + len(self.mismatched)

    @property
    def foreign(self) -> bool:
        """Whether nothing in the checkpoint is of this network: it is somebody else's."""
        return not self.used and not self.renamed

    def first_problem(self) -> str | None:
        """The first of them in one line, ``None`` if the result loads."""
        if self.foreign:
            return f"none of its {len(self.unused)} tensors belongs to {self.family}: it is for another network"
        more = f" (and {self.problems - 1} more like it)" if self.problems > 1 else ""
        for key, (theirs, ours) in self.mismatched.items():
            return f"{key} has shape {theirs}, but {self.family} needs {ours}{more}"
        for key in self.missing:
            return f"nothing in the checkpoint gives {self.family} its {key}{more}"
        for key in self.unknown:
            return f"{key} has no place in {self.family}{more}"
        return None


class ConversionError(WeightsError):
    """A checkpoint fits no backbone whole; ``report`` is the account of the one that it fits best."""

    def __init__(self, message: str, report: ConversionReport) -> None:
        super().__init__(message)
        self.report = report


def convert(
    state_dict: Mapping[str, Tensor], source: Source, family: str, backbone: Backbone
) -> tuple[dict[str, Tensor], ConversionReport]:
    """Give the tensors of a publisher's checkpoint the key names of ``backbone``.

    Nothing is dropped in silence and nothing is reshaped: what does not fit is in the report, not in the result.

    Args:
        state_dict: the publisher's tensors by the publisher's names.
        source: the publisher.
        family: the backbone's family, a key of ``source.families``.
        backbone: the network to fit; it may be on the meta device.

    Raises:
        WeightsError: the source publishes no such family.
    """
    if family not in source.families:
        raise WeightsError(f"backbone {family!r} is not known from there: choose one of {', '.join(source.families)}")
    expected = {key: tuple(value.shape) for key, value in backbone.state_dict().items()}
    result: dict[str, Tensor] = {}
    used: list[str] = []
    renamed: dict[str, str] = {}
    unused: dict[str, str] = {}
    mismatched: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    for key, tensor in state_dict.items():
        new, why = apply_rules(key, source.families[family])
        if why is not None or new not in expected:
            unused[key] = why or ""
        elif new in result:
            unused[key] = f"another key has already become {new}"
        elif tuple(tensor.shape) != expected[new]:
            mismatched[key] = (tuple(tensor.shape), expected[new])
            result[new] = tensor
        else:
            result[new] = tensor
            if new == key:
                used.append(key)
            else:
                renamed[key] = new
    filled = tuple(key for key in expected if key not in result and key.endswith(_COUNTER))
    result.update({key: torch.zeros((), dtype=torch.int64) for key in filled})
    report = ConversionReport(
        family=family,
        classes=_classes(expected),
        used=tuple(used),
        renamed=renamed,
        unused=unused,
        missing=tuple(key for key in expected if key not in result),
        mismatched=mismatched,
        filled=filled,
    )
    fitting = {key: tensor for key, tensor in result.items() if tuple(tensor.shape) == expected[key]}
    return fitting, report


def recognize_family(
    state_dict: Mapping[str, Tensor], source: Source, family: str | None = None
) -> tuple[dict[str, Tensor], ConversionReport]:
    """Convert to whichever of the source's families fits best, with as many classes as the checkpoint has.

    Args:
        state_dict: the publisher's tensors by the publisher's names.
        source: the publisher.
        family: the only family to consider, where given.

    Raises:
        ConversionError: no family fits whole; the line names the first key that does not, for the one that fits best.
        WeightsError: the source publishes no such family.
    """
    attempts = []
    for name in [family] if family is not None else source.families:
        if name not in source.families:
            raise WeightsError(f"backbone {name!r} is not known from there: choose one of {', '.join(source.families)}")
        classes = _classes(
            {apply_rules(key, source.families[name])[0]: tuple(t.shape) for key, t in state_dict.items()}
        )
        with torch.device("meta"):
            backbone = BACKBONES[name](classes=classes or 1)
        attempts.append(convert(state_dict, source, name, backbone))
    tensors, report = min(attempts, key=lambda attempt: attempt[1].problems)
    problem = report.first_problem()
    if problem is not None:
        raise ConversionError(problem, report)
    return tensors, report


def convert_file(path: Path, source: Source, family: str | None = None) -> tuple[dict[str, Tensor], ConversionReport]:
    """Read a publisher's file and convert what is in it; pickles are read for tensors only, and run no code.

    Raises:
        ConversionError: the tensors fit no family of the source.
        WeightsError: the file is missing, unreadable, or holds no tensors.
    """
    tensors = _read_tensors(path, source.read)
    try:
        return recognize_family(tensors, source, family)
    except ConversionError as error:
        raise ConversionError(f"{path}: {error}", error.report) from None


def guess_source(path: Path, sources: Mapping[str, Source], family: str | None = None) -> str:
    """Whose checkpoint a file is: the first of the sources of which a family (or ``family``) fits it whole.

    Raises:
        ConversionError: none fits; the line is that of the one that fits best.
        WeightsError: the file is missing, unreadable, or holds no tensors.
    """
    problems: list[ConversionError] = []
    refusals: list[WeightsError] = []
    readable: dict[Callable[[Path], Mapping[str, Tensor]] | None, Mapping[str, Tensor]] = {}
    for name, source in sources.items():
        if family is not None and family not in source.families:
            continue
        try:
            if source.read not in readable:
                readable[source.read] = _read_tensors(path, source.read)
            # Names and shapes tell: nothing is copied.
            tensors = {key: value.to("meta") for key, value in readable[source.read].items()}
            recognize_family(tensors, source, family)
            return name
        except ConversionError as error:
            nearest = "" if error.report.foreign else f"; {name} is closest, but {error}"
            problems.append(ConversionError(f"{path}: it is none of {', '.join(sources)}{nearest}", error.report))
        except WeightsError as error:
            refusals.append(error)
    if problems:
        raise min(problems, key=lambda problem: (problem.report.foreign, problem.report.problems))
    raise refusals[0] if refusals else WeightsError(f"backbone {family!r}: no publisher's checkpoints of it are known")


def _read_tensors(path: Path, read: Callable[[Path], Mapping[str, Tensor]] | None) -> dict[str, Tensor]:
    """The tensors of a checkpoint by the publisher's names; ``read`` reads what is not torch's.

    Raises:
        WeightsError: the file is missing, unreadable, or holds no tensors.
    """
    if not path.exists():
        raise WeightsError(f"{path}: there is no such checkpoint")
    if path.is_dir() or not path.stat().st_size:
        raise WeightsError(f"{path}: it is {'a folder' if path.is_dir() else 'empty'}, not a checkpoint")
    try:
        with warnings.catch_warnings():
            # torch warns of unusual pickles before it refuses or reads them; the outcome is said below.
            warnings.simplefilter("ignore")
            content: object
            if path.suffix == ".safetensors":
                content = load_file(path)
            elif read is not None:
                content = read(path)
            else:
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is no checkpoint fails inside the unpickler in any of a dozen ways
        # The first sentence alone: those that follow advise to read pickles that run code.
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        reason, how = first.partition(". ")[0], ""
        if read is None and not isinstance(error, (RuntimeError, OSError, SafetensorError)):
            reason = "it is not torch's, or it is damaged"
        if isinstance(error, pickle.UnpicklingError) and (named := re.search(r"GLOBAL (\S+)", str(error))):
            reason, how = f"it names {named[1]}, and only tensors are read", _RESAVE.format(path=str(path))
        raise WeightsError(f"{path}: not readable as a checkpoint of tensors ({reason}){how}") from None
    for container in _CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(container), dict):
            content = content[container]
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, not a dictionary of tensors")
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors; its keys are {', '.join(map(str, list(content)[:5])) or 'none'}")
    if all(key.startswith(_PARALLEL) for key in tensors):
        tensors = {key.removeprefix(_PARALLEL): value for key, value in tensors.items()}
    return tensors


_RESAVE = (
    "; if you trust it, save its tensors alone where its own code is installed: "
    "c = torch.load({path!r}, weights_only=False); "
    "torch.save(c.get('state_dict', c) if isinstance(c, dict) else c.state_dict(), 'tensors.pth')"
)


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, half: bool = False) -> str:
    """Write tensors as safetensors, whole or not at all, and return the file's sha256.

    ``half`` stores numbers in 16 bits, which halves the file; they are loaded as float32 all the same.

    Raises:
        WeightsError: the file cannot be written.
    """
    if half:
        tensors = {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}
    try:
        with replacing(path) as new:
            new.touch()
            mode = new.stat().st_mode
            save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, new, metadata=dict(metadata))
            new.chmod(mode)  # safetensors lets nobody but the owner read what it writes
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from None
    return sha256_of(path)


def _classes(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Rows of the classifier's last matrix, or of its last 1×1×1 kernel if it has no matrix; 0 if there is neither."""
    of_classifier = [
        shape for key, shape in shapes.items() if key.startswith(f"stages.{CLASSIFIER}.") and key.endswith(".weight")
    ]
    matrices = [shape for shape in of_classifier if len(shape) == 2]
    kernels = [shape for shape in of_classifier if len(shape) == 5 and shape[2:] == (1, 1, 1)]
    return (matrices or kernels or [(0,)])[-1][0]
