"""Which videos were recorded together: learning from some of them and being tested on the others proves little."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import PurePath

from vidcomp.training import RequestError
from vidcomp.training.videos import TrainingVideo

# As in v_PushUps_g08_c01.avi of UCF101.
_GUESS = r"_g(\d+)(?!\d)"


def groups_of(videos: Sequence[TrainingVideo], group_by: str | None = None) -> tuple[list[str], list[str]]:
    """A group's name for each video, and remarks.

    That which a list gave it; or else what ``group_by``, a regular expression, finds in its path: its first group in
    parentheses, or all of it. Without ``group_by``, numbers such as ``_g08`` in file names are taken. A video that has
    neither is a group of its own.

    Raises:
        RequestError: ``group_by`` is no regular expression, or finds nothing.
    """
    if group_by is not None and all(video.group for video in videos):
        group_by = None  # it is a column, whose name need not be a pattern
    try:
        pattern = re.compile(_GUESS if group_by is None else group_by)
    except re.error as error:
        raise RequestError(f"group_by={group_by!r}: not a regular expression ({error})") from None
    found: list[str | None] = []
    for video in videos:
        path = PurePath(os.fsencode(video.path).decode("utf-8", "backslashreplace"))
        match = pattern.search(path.name if group_by is None else path.as_posix())
        found.append(video.group or (match and (match[1] if pattern.groups else match[0])) or None)
    without = sum(group is None for group in found)
    if group_by is not None and without == len(found):
        raise RequestError(
            f"group_by={group_by!r}: neither a column of the list nor a pattern that is in any path, such as "
            f"{videos[0].path}"
        )
    notes = []
    if without == len(found):
        notes.append(
            "each video counts as a recording of its own; if some belong together, say so, as by group_by='cam[0-9]'"
        )
    elif without:
        notes.append(f"{without} of {len(found)} videos have no group: each is one of its own")
    elif len(set(found)) == 1 and len(found) > len({video.label for video in videos}):
        notes.append(f"all {len(found)} videos are of one recording, {found[0]!r}, so nothing can be tested")
    return [video.path if group is None else group for video, group in zip(videos, found, strict=True)], notes
