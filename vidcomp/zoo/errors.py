"""What can be wrong with a model's description or its weights, each as one line for the user."""

from __future__ import annotations


class ZooError(Exception):
    """The model cannot be built as asked: the message says what is wrong, where, and what to do."""


class ManifestError(ZooError):
    """A manifest is missing, unreadable, or says something that it may not."""


class WeightsError(ZooError):
    """Weights are absent, cannot be fetched, are damaged, or do not fit the network."""
