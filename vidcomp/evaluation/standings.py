"""From what each contender measured to rows: medians, accuracy, agreement, and ratios to the dense row."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from vidcomp.evaluation.contender import Contender
from vidcomp.evaluation.results import RATIO_COLUMNS, Answer, Row, VideoResult
from vidcomp.evaluation.statistics import Ratio, counted_ratio, differs, ratio_of_medians, spread
from vidcomp.video.labeled import LabeledVideo

_MB = 1e6
# Columns that are measured again in every round, so that their ratios have intervals.
_MEASURED = {
    "model_ms": "model_s",
    "videos_per_s": "model_s",
    "end_to_end_videos_per_s": "end_to_end_s",
    "energy_j": "energy_j",
}


def rows_of(
    contenders: Sequence[Contender], videos: Sequence[LabeledVideo], timed: int, fits: Mapping[str, int | None]
) -> tuple[Row, ...]:
    """One row for each contender that measured anything.

    Accuracy and agreement are over the videos that all of them labelled; rounds count where all ``timed`` videos were
    measured.
    """
    contenders = [contender for contender in contenders if contender.passes]
    dense = next((contender for contender in contenders if contender.is_dense), None)
    common = [video for video in videos if all(video.path in contender.labels for contender in contenders)]
    return tuple(_row(contender, dense, common, timed, fits) for contender in contenders)


def results_of(
    contenders: Sequence[Contender], videos: Sequence[LabeledVideo], timed: Sequence[str]
) -> tuple[VideoResult, ...]:
    """Each video with what each contender said of it; random weights say nothing."""
    return tuple(
        VideoResult(
            video.path,
            video.label,
            {contender.name: _answer(contender, video.path) for contender in contenders if _seen(contender, video)},
            video.path in timed,
        )
        for video in videos
    )


def round_means(samples: Mapping[int, Sequence[float]], timed: int) -> dict[int, float]:
    """The mean over the timed videos of each round that measured them all."""
    return {number: statistics.fmean(values) for number, values in samples.items() if len(values) == timed and timed}


def spread_over(items: Sequence[str], most: int) -> list[str]:
    """At most ``most`` of the items, evenly spaced, from the first to the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]


def _row(
    contender: Contender,
    dense: Contender | None,
    common: Sequence[LabeledVideo],
    timed: int,
    fits: Mapping[str, int | None],
) -> Row:
    frames = [passes.frames for passes in contender.passes]
    first = contender.passes[0]
    same_size = all((passes.height, passes.width) == (first.height, first.width) for passes in contender.passes)
    milliseconds = {
        name: [1e3 * value for value in round_means(getattr(contender, name), timed).values()]
        for name in ("model_s", "end_to_end_s")
    }
    columns = {**_counted(contender, fits), **_scores(contender, dense, common)}
    ratios: dict[str, Ratio] = {}
    noisy: tuple[str, ...] = ()
    if dense is not None:
        theirs = {**_counted(dense, fits), **_scores(dense, dense, common)}
        ratios = _ratios(contender, dense, timed, columns, theirs)
        noisy = _noisy(contender, dense, common, ratios)
    return Row(
        strategy=contender.name,
        compressor="+".join(kind for kind in contender.kinds if kind != "identity") or "none",
        tau=contender.tau,
        trained=contender.trained,
        params=contender.params,
        views=first.count,
        frames_per_view=round(statistics.median(frames)),
        frames_range=(min(frames), max(frames)),
        size=(first.height, first.width) if same_size else None,
        gmacs=columns["gmacs"],
        model_ms=spread(milliseconds["model_s"]),
        end_to_end_ms=spread(milliseconds["end_to_end_s"]),
        peak_memory_mb=columns["peak_memory_mb"],
        fits_at_once=fits.get(contender.name),
        energy_j=spread(list(round_means(contender.energy_j, timed).values())),
        top1=columns["top1"],
        top5=columns["top5"],
        agreement=columns["agreement"],
        ratios=ratios,
        noisy=noisy,
    )


def _counted(contender: Contender, fits: Mapping[str, int | None]) -> dict[str, float | None]:
    """Columns that are counted, or measured just once."""
    return {
        "gmacs": statistics.fmean(contender.gmacs) if contender.gmacs else None,
        "params": contender.params,
        "peak_memory_mb": max(contender.peaks) / _MB if contender.peaks else None,
        "fits_at_once": fits.get(contender.name),
    }


def _scores(contender: Contender, dense: Contender | None, common: Sequence[LabeledVideo]) -> dict[str, float | None]:
    """Accuracy where classes are known, agreement with the dense row; absent where weights are random."""
    scores: dict[str, float | None] = {"top1": None, "top5": None, "agreement": None}
    labelled = [video for video in common if video.label is not None]
    if contender.trained and labelled:
        for name, right in _RIGHT.items():
            scores[name] = statistics.fmean(right(contender, video) for video in labelled)
    if contender.trained and dense is not None and dense.trained and common:
        scores["agreement"] = statistics.fmean(
            contender.labels[video.path][0].index == dense.labels[video.path][0].index for video in common
        )
    return scores


def _ratios(
    contender: Contender,
    dense: Contender,
    timed: int,
    columns: Mapping[str, float | None],
    theirs: Mapping[str, float | None],
) -> dict[str, Ratio]:
    """Ratios to the dense row by column; ``columns`` and ``theirs`` are what was counted of the two."""
    ratios: dict[str, Ratio] = {}
    for column, more_is_better in RATIO_COLUMNS.items():
        if column in _MEASURED:
            above = round_means(getattr(dense, _MEASURED[column]), timed)
            below = round_means(getattr(contender, _MEASURED[column]), timed)
            pairs = [(above[number], below[number]) for number in above if number in below]
            ratio = ratio_of_medians(list(above.values()), list(below.values()), pairs)
        elif more_is_better:
            ratio = counted_ratio(columns[column], theirs[column])
        else:
            ratio = counted_ratio(theirs[column], columns[column])
        if ratio is not None:
            ratios[column] = ratio
    return ratios


def _noisy(
    contender: Contender, dense: Contender, common: Sequence[LabeledVideo], ratios: Mapping[str, Ratio]
) -> tuple[str, ...]:
    """The columns in which the two rows cannot be told apart."""
    if contender is dense:
        return ()
    noisy = [column for column in _MEASURED if column in ratios and not ratios[column].tells]
    noisy += [name for name in _RIGHT if name in ratios and not _tell_apart(name, contender, dense, common)]
    return tuple(noisy)


def _tell_apart(name: str, contender: Contender, dense: Contender, common: Sequence[LabeledVideo]) -> bool:
    right = _RIGHT[name]
    pairs = [(right(contender, video), right(dense, video)) for video in common if video.label is not None]
    only_ours = sum(ours and not theirs for ours, theirs in pairs)
    only_theirs = sum(theirs and not ours for ours, theirs in pairs)
    return differs(only_ours, only_theirs)


def _right_first(contender: Contender, video: LabeledVideo) -> bool:
    return contender.labels[video.path][0].label == video.label


def _right_in_five(contender: Contender, video: LabeledVideo) -> bool:
    return any(label.label == video.label for label in contender.labels[video.path])


_RIGHT: dict[str, Callable[[Contender, LabeledVideo], bool]] = {"top1": _right_first, "top5": _right_in_five}


def _seen(contender: Contender, video: LabeledVideo) -> bool:
    return video.path in contender.labels or video.path in contender.errors


def _answer(contender: Contender, path: str) -> Answer:
    if path in contender.errors:
        return Answer(None, None, contender.errors[path])
    best = contender.labels[path][0]
    return Answer(best.label, best.probability) if contender.trained else Answer(None, None)
