"""Fit a backbone, or a compressor in a frozen backbone, to a folder of labeled videos.

What ends a training before its last epoch is an error here, one line for the user.
"""

from __future__ import annotations


class TrainingError(Exception):
    """Training cannot begin or go on: the message says what is wrong, with which file, and what to do."""


class RequestError(TrainingError):
    """What was asked cannot be done; nothing was begun."""


class RecipeError(RequestError):
    """A recipe's file or value is not valid."""


class DataError(RequestError):
    """The videos named cannot be trained on."""


class Interrupted(TrainingError):  # noqa: N818 - it was asked for
    """Training was asked to stop, and did so after a whole step; its checkpoint is written."""
