"""A model over videos: how a video becomes forward passes, and how they are run in bounded memory."""
