"""How often models are right, and what it costs: data set × model × strategy, in one table made of what is kept.

    python -m benchmarks.accuracy                                   # go on with whatever is left; hours on two cores
    python -m benchmarks.accuracy --rows ucf16/ucf16-lite0/sfc      # these rows only
    python -m benchmarks.accuracy --report                          # the table and the picture, from what is kept

Every answer is kept as a line in vidcomp's cache folder as soon as it is there, so that a run that is ended goes on
later; of another network, other weights or changed videos nothing is taken over. The last layers of `kinetics400-i3d`
are taught first, by the training videos alone. Tables go to benchmarks/results/accuracy.json, docs/results.md (between
its marks) and docs/results.png.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import DOCS, save
from vidcomp.evaluation.benchmark import describe_machine, is_busy
from vidcomp.evaluation.statistics import interval_of_mean
from vidcomp.evaluation.strategy_run import StrategyRun
from vidcomp.files import replace_file
from vidcomp.inference.batch import stamp_of
from vidcomp.inference.classifier import Classifier
from vidcomp.inference.grammar import StrategyError, parse_strategy
from vidcomp.inference.strategies import WholeVideo
from vidcomp.memory import tune_malloc
from vidcomp.training.config import Paths
from vidcomp.training.head import HeadJob, train_head
from vidcomp.training.videos import TrainingVideo, groups_of
from vidcomp.video.labeled import LabeledVideo, find_labeled
from vidcomp.zoo import ZooError
from vidcomp.zoo.build import load_variant
from vidcomp.zoo.downloads import cache_folder
from vidcomp.zoo.manifest import Manifest, find_manifest, read_manifest
from vidcomp.zoo.weights import fingerprint

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CACHE = cache_folder() / "accuracy"
STRATEGIES = ("dense30", "whole", "sfc", "sfc-tau4", "sgs", "sgs+sfc", "bitstream")
# Models of a data set; what follows a plus sign is taught by the training videos.
MODELS = {"ucf16": ("ucf16-lite0", "kinetics400-i3d+head"), "fights": ("kinetics400-i3d+head",)}
# Which videos are of one recording, where it is not the number in their names alone: each class has its own group 5.
RECORDINGS = {"ucf16": r"v_\w+_g\d+"}
_BEGIN, _END = "<!-- begin table -->", "<!-- end table -->"


@dataclass(frozen=True)
class Cell:
    """A row of the table before it is measured."""

    data: str
    model: str
    strategy: str

    @property
    def name(self) -> str:
        """As --rows has it."""
        return f"{self.data}/{self.model}/{self.strategy}"

    def manifest(self) -> Manifest:
        """The model, taught first if it must be."""
        base, head, _ = self.model.partition("+head")
        if not head:
            return find_manifest(base)
        file = CACHE / f"{self.data}-{base}.yaml"
        if not file.exists():
            CACHE.mkdir(parents=True, exist_ok=True)
            train_head(HeadJob(base), Paths(source=DATA / self.data / "train", output=file))
        return read_manifest(file)

    def variant(self) -> Manifest:
        """The network that the strategy passes; StrategyError or ZooError if there is none."""
        return parse_strategy(self.strategy).manifest(self.manifest())

    def file(self, manifest: Manifest) -> Path:
        """Where its answers are kept."""
        return CACHE / f"{self.name.replace('/', '-')}-{fingerprint(manifest)[:12]}.jsonl"


def cells() -> Iterator[Cell]:
    """All rows of the table."""
    for data, models in MODELS.items():
        for model in models:
            yield from (Cell(data, model, strategy) for strategy in STRATEGIES)


def kept(file: Path) -> dict[str, dict[str, Any]]:
    """Answers by path, of files that are still the same; a line that was not finished is left out."""
    answers = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            answer = json.loads(line)
        except ValueError:
            continue
        stamp = stamp_of(answer["path"])
        if stamp is not None and [stamp.size, stamp.mtime_ns] == answer["stamp"]:
            answers[answer["path"]] = answer
    return answers


def videos_of(data: str) -> list[LabeledVideo]:
    """The validation videos."""
    return find_labeled([str(DATA / data / "val")])[0]


def left_of(cell: Cell, manifest: Manifest) -> list[LabeledVideo]:
    """The validation videos of which no answer is kept."""
    done = kept(cell.file(manifest))
    return [video for video in videos_of(cell.data) if video.path not in done]


def measure(cell: Cell, manifest: Manifest, device: str, precision: str, busy: bool = False) -> None:
    """Take every video that is left through the strategy, one after the other; no times are kept if it is ``busy``."""
    tune_malloc()
    file, left = cell.file(manifest), left_of(cell, manifest)
    if not left:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    strategy = parse_strategy(cell.strategy).strategy or WholeVideo()
    try:
        classifier = Classifier(load_variant(manifest), strategy=strategy, device=device, precision=precision)
    except ZooError as error:
        print(f"{cell.name}: {error}", flush=True)
        return
    machine = describe_machine(classifier.runner.device)
    run = StrategyRun(cell.strategy, classifier)
    run.warm_up()
    with file.open("a") as kept_file:
        kept_file.write("\n")  # ends a line that a run was killed in
        for number, video in enumerate(left, start=1):
            run.label(video.path)
            stamp, seen = stamp_of(video.path), run.observations.get(video.path)
            assert stamp is not None
            answer: dict[str, Any] = {"path": video.path, "stamp": [stamp.size, stamp.mtime_ns], "truth": video.label}
            if seen is None:
                answer["error"] = run.errors[video.path]
            else:
                answer |= {
                    "label": seen.labels[0].label,
                    "probability": seen.labels[0].probability,
                    "gmacs": seen.gmacs,
                    "peak_bytes": seen.peak_bytes,
                    "seconds": None if busy else seen.seconds,
                    "device": machine["gpu"] or "cpu",
                }
            kept_file.write(json.dumps(answer) + "\n")
            kept_file.flush()
            print(f"{cell.name}: {number} of {len(left)}", flush=True)
    run.close()


def row_of(cell: Cell) -> dict[str, Any]:
    """What is known of a row by now; ``why`` says what is missing."""
    row: dict[str, Any] = {"data": cell.data, "model": cell.model, "strategy": cell.strategy}
    base, head, _ = cell.model.partition("+head")
    if head and not (CACHE / f"{cell.data}-{base}.yaml").exists():
        return row | {"why": "its last layer was not taught yet"}
    try:
        answers = kept(cell.file(cell.variant()))
    except (StrategyError, ZooError):
        return row | {"why": "the model has none"}
    videos = [video for video in videos_of(cell.data) if "label" in answers.get(video.path, {})]
    if not videos:
        return row | {"why": "not measured"}
    groups = groups_of([TrainingVideo(video.path, 0) for video in videos], RECORDINGS.get(cell.data))[0]
    right = [answers[video.path]["label"] == video.label for video in videos]
    low, high = interval_of_mean(right, groups)
    classes = sorted({video.label or "" for video in videos})
    per_class = {
        name: statistics.mean(one for one, video in zip(right, videos, strict=True) if video.label == name)
        for name in classes
    }
    own = [answers[video.path] for video in videos]

    def known(key: str) -> list[float]:
        return [answer[key] for answer in own if answer.get(key) is not None]

    seconds, peaks, gmacs = known("seconds"), known("peak_bytes"), known("gmacs")
    row |= {
        "videos": len(videos),
        "device": ", ".join(sorted({answer.get("device", "cpu") for answer in own})),
        "groups": len(set(groups)),
        "top1": statistics.mean(right),
        "interval": [low, high],
        "balanced": statistics.mean(per_class.values()),
        "per_class": per_class,
        "gmacs": statistics.mean(gmacs) if gmacs else None,
        "ms": 1000 * statistics.median(seconds) if seconds else None,
        "peak_mib": max(peaks) / 2**20 if peaks else None,
        "labels": {video.path: answers[video.path]["label"] for video in videos},
    }
    of_all = len(videos_of(cell.data))
    return row if len(videos) == of_all else row | {"why": f"{len(videos)} of {of_all} videos so far"}


def with_agreement(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with how often each says what dense30, and what whole, says of the same video."""
    said = {(row["data"], row["model"], row["strategy"]): row.get("labels", {}) for row in rows}
    finished = []
    for row in rows:
        own, row = row.get("labels", {}), {key: value for key, value in row.items() if key != "labels"}
        for other in ("dense30", "whole"):
            theirs = said.get((row["data"], row["model"], other), {}) if row["strategy"] != other else {}
            shared = own.keys() & theirs.keys()
            row[f"agrees_{other}"] = statistics.mean(own[p] == theirs[p] for p in shared) if shared else None
        finished.append(row)
    return finished


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = [
        "| data | model | strategy | top-1 (95%) | balanced | as dense30 | as whole | GMACs | ms | peak MiB | note |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:

        def share(key: str, row: dict[str, Any] = row) -> str:
            return "" if row.get(key) is None else f"{100 * row[key]:.1f}"

        def number(key: str, digits: int = 0, row: dict[str, Any] = row) -> str:
            return "" if row.get(key) is None else f"{row[key]:,.{digits}f}"

        top1 = share("top1")
        if top1:
            low, high = row["interval"]
            top1 += f" ({100 * low:.0f}–{100 * high:.0f})"
        cells = [row["data"], row["model"], row["strategy"], top1, share("balanced"), share("agrees_dense30")]
        cells += [share("agrees_whole"), number("gmacs", 1), number("ms"), number("peak_mib"), row.get("why", "")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def picture(rows: Sequence[dict[str, Any]]) -> bytes:
    """Accuracy against GMACs, with intervals; strategies by color, models by shape, a line along the best of both."""
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    shapes = dict(zip(dict.fromkeys(model for models in MODELS.values() for model in models), "so^", strict=False))
    for place, data in enumerate(MODELS, start=1):
        axes = figure.add_subplot(1, len(MODELS), place)
        shown = [row for row in rows if row["data"] == data and row.get("gmacs") and row.get("top1") is not None]
        best = [
            row
            for row in sorted(shown, key=lambda row: float(row["gmacs"]))
            if not any(other["gmacs"] < row["gmacs"] and other["top1"] >= row["top1"] for other in shown)
        ]
        axes.plot([row["gmacs"] for row in best], [100 * row["top1"] for row in best], color="0.7", zorder=0)
        for row in shown:
            low, high = row["interval"]
            top1, color = 100 * row["top1"], f"C{STRATEGIES.index(row['strategy'])}"
            axes.vlines(row["gmacs"], 100 * low, 100 * high, color=color, alpha=0.3, linewidth=1)
            axes.plot(row["gmacs"], top1, shapes[row["model"]], color=color)
        axes.set(xscale="log", xlabel="GMACs per video", ylabel="top-1, %", title=data)
    for number, strategy in enumerate(STRATEGIES):
        axes.plot([], [], color=f"C{number}", linewidth=4, label=strategy)
    for model, shape in shapes.items():
        axes.plot([], [], shape, color="0.4", label=model)
    figure.legend(loc="outside right center", fontsize=8, frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()


def report() -> None:
    """Write the table, the picture and the JSON of what is kept."""
    rows = with_agreement([row_of(cell) for cell in cells()])
    save("accuracy", {"rows": rows})
    page = DOCS / "results.md"
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2]
    replace_file(page, [f"{before}{_BEGIN}\n{table(rows)}\n{_END}{after}".encode()])
    replace_file(DOCS / "results.png", [picture(rows)])


def main() -> None:
    tune_malloc()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", metavar="DATA/MODEL/STRATEGY", default=[cell.name for cell in cells()])
    parser.add_argument("--device", default="auto", help="as of classify")
    parser.add_argument("--precision", default="fp32", help="as of classify; all rows should have the same")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    options = parser.parse_args()
    unknown = set(options.rows) - {cell.name for cell in cells()}
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: choose of {', '.join(cell.name for cell in cells())}")
    if not options.report:
        # Asked once: the first row makes the machine look busy to the second.
        if busy := is_busy(describe_machine(torch.device("cpu"))):
            print("The machine is busy: no times are kept.", flush=True)
        for cell in cells():
            if cell.name in options.rows:
                try:
                    manifest = cell.variant()
                    if not left_of(cell, manifest):
                        continue
                except (StrategyError, ZooError) as error:
                    print(f"{cell.name}: {error}", flush=True)
                    continue
                # In a process of its own: what an earlier row took and gave back would count for the next one's peak.
                process = multiprocessing.get_context("spawn").Process(
                    target=measure, args=(cell, manifest, options.device, options.precision, busy)
                )
                process.start()
                process.join()
                if process.exitcode:
                    raise SystemExit(process.exitcode)
    report()


if __name__ == "__main__":
    main()
