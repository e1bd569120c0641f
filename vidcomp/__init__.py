"""vidcomp names the action in a video in one pass over the whole video."""

__version__ = "0.1.0"
