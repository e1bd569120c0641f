"""The parts of a network over a bitstream: neurons, modulators of P-frames, the joint transformer and the mixer."""
