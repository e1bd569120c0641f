"""Temporal resolution over a folder: how many bins videos keep, and the classes that need the fewest and the most.

Figure 3 and table 5 of the SGS paper.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# Classes at either end of table 5.
_CLASSES_SHOWN = 5


@dataclass(frozen=True)
class TemporalResolution:
    """Active bins (B') of videos.

    ``histogram`` counts videos by their number of active bins (figure 3), ``per_class`` holds the mean number of the
    videos of each class, lowest first (table 5).
    """

    histogram: dict[int, int]
    per_class: dict[str, float]

    @property
    def mean(self) -> float:
        """Mean number of active bins of a video."""
        return sum(bins * videos for bins, videos in self.histogram.items()) / sum(self.histogram.values())

    def as_dict(self) -> dict[str, Any]:
        """The resolution under the keys that scripts read."""
        classes = list(self.per_class.items())
        return {
            "mean": self.mean,
            "histogram": {str(bins): videos for bins, videos in self.histogram.items()},
            "lowest": dict(classes[:_CLASSES_SHOWN]),
            "highest": dict(classes[: -_CLASSES_SHOWN - 1 : -1]),
        }


def temporal_resolution(videos: Iterable[tuple[str, int]]) -> TemporalResolution:
    """Gather (true class, active bins) of videos.

    Raises:
        ValueError: there are no videos.
    """
    counts: Counter[int] = Counter()
    of_class: defaultdict[str, list[int]] = defaultdict(list)
    for label, bins in videos:
        counts[bins] += 1
        of_class[label].append(bins)
    if not counts:
        raise ValueError("there are no videos to take the temporal resolution of")
    means = {label: sum(bins) / len(bins) for label, bins in of_class.items()}
    return TemporalResolution(dict(sorted(counts.items())), dict(sorted(means.items(), key=lambda item: item[1])))
