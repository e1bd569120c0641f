"""A name or a YAML file to a model: its network, weights, labels and preprocessing.

What can be wrong with a model's description or its weights is an error here, one line for the user.
"""

from __future__ import annotations


class ZooError(Exception):
    """The model cannot be built as asked: the message says what is wrong, where, and what to do."""


class ManifestError(ZooError):
    """A manifest is missing, unreadable, or says something that it may not."""


class WeightsError(ZooError):
    """Weights are absent, cannot be fetched, are damaged, or do not fit the network."""
