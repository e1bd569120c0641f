"""Frames to logits: backbones made of named stages, the compressors between them, and the two together."""
