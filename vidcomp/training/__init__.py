"""Fit a backbone, or a compressor in a frozen backbone, to a folder of labelled videos."""
