"""A file becomes frames with their timestamps.

Importing this package is cheap: PyAV, decord and torch are imported by the functions that need them.
"""

from vidcomp.video.discovery import Shard, SourceError, Sources, VideoFile, VideoSelection, find_videos
from vidcomp.video.errors import ERRORS, VideoError
from vidcomp.video.frames import Chunk, DecodeOptions, DecodeReport, Frames, VideoInfo, target_size
from vidcomp.video.inspection import Inspection
from vidcomp.video.reader import Reader, open_reader
from vidcomp.video.sampling import Selection, View, dense_views, needed, rows_of, uniform_clips, whole
from vidcomp.video.worker.pool import DecodePool
from vidcomp.video.worker.process import DecoderUnavailable, default_timeout
from vidcomp.video.worker.worker import DecodeWorker, IsolatedReader, decode, probe

__all__ = [
    "ERRORS",
    "Chunk",
    "DecodeOptions",
    "DecodePool",
    "DecodeReport",
    "DecodeWorker",
    "DecoderUnavailable",
    "Frames",
    "Inspection",
    "IsolatedReader",
    "Reader",
    "Selection",
    "Shard",
    "SourceError",
    "Sources",
    "VideoError",
    "VideoFile",
    "VideoInfo",
    "VideoSelection",
    "View",
    "decode",
    "default_timeout",
    "dense_views",
    "find_videos",
    "needed",
    "open_reader",
    "probe",
    "rows_of",
    "target_size",
    "uniform_clips",
    "whole",
]
