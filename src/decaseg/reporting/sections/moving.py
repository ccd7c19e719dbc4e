"""Moving pictures small enough to stand inside a page."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from decaseg.reporting.extras import need
from decaseg.reporting.pictures import Inline, data_uri

TRIES = ((560, 60, 1), (420, 55, 1), (340, 50, 1), (340, 45, 2))  # height, quality, every how manieth frame
FRAME_MS = 90  # where the file does not say


def inline_motion(path: Path, most_bytes: int) -> Inline | None:
    """A GIF or WebP as an animated WebP of at most `most_bytes`, as large as fits.

    None where it cannot be read, does not move, or stays too large even with half of its frames: the still is shown.
    """
    image, sequence = need("PIL.Image"), need("PIL.ImageSequence")
    try:
        with image.open(path) as opened:
            frames, times = [], []
            for frame in sequence.Iterator(opened):
                times.append(int(frame.info.get("duration") or FRAME_MS))
                frames.append(frame.convert("RGB"))
    except (OSError, ValueError, EOFError, image.DecompressionBombError):
        return None
    for height, quality, every in TRIES:
        chosen = [_no_higher(frame, height, image) for frame in frames[::every]]
        buffer = io.BytesIO()
        motion = {
            "save_all": True,
            "append_images": chosen[1:],
            "duration": [every * t for t in times[::every]],
            "loop": 0,
        }
        chosen[0].save(buffer, format="WEBP", quality=quality, method=1, **motion)
        if buffer.tell() <= most_bytes:
            return Inline(data_uri("image/webp", buffer.getvalue()), chosen[0].width, chosen[0].height)
    return None


def _no_higher(frame: Any, height: int, image: Any) -> Any:
    if frame.height <= height:
        return frame
    return frame.resize((max(1, round(frame.width * height / frame.height)), height), image.Resampling.BICUBIC)
