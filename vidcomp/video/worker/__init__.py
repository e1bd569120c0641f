"""Decoding in processes that can be killed: a crash or a hang of the decoder is one file's error."""
