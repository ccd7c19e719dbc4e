"""Shrinks overlays until a page that carries all of them stays small."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from decaseg.reporting.extras import need

BUDGET_BYTES = 6_000_000  # for all small pictures of a page; base64 makes 8 MB of them
BYTES_A_PIXEL = 0.11  # WebP at quality 78 on these posters, measured on brains and hippocampi
LARGEST, SMALLEST = 1080, 300
FEATURED_WIDTH = 1600


@dataclass(frozen=True)
class Inline:
    """A picture as a data URI, and its size in pixels."""

    uri: str
    width: int
    height: int


def small_width(count: int) -> int:
    """How wide each of `count` posters may be so that together they keep the budget.

    >>> small_width(10), small_width(500)
    (1080, 358)
    """
    pixels = BUDGET_BYTES / BYTES_A_PIXEL / max(count, 1)
    return max(SMALLEST, min(LARGEST, int((pixels / 0.85) ** 0.5)))  # posters are 0.85 as high as wide


def inline_still(path: Path, width: int) -> Inline:
    """A picture no wider than `width`, as WebP inside a data URI; a ValueError when the file is no picture."""
    image = need("PIL.Image")
    try:
        with image.open(path) as opened:
            picture = opened.convert("RGB")
    except (OSError, ValueError, image.DecompressionBombError) as error:
        raise ValueError(f"{path}: cannot be read as a picture ({error}); evaluate again or remove it") from None
    if picture.width > width:
        height = max(1, round(picture.height * width / picture.width))
        picture = picture.resize((width, height), image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=78, method=2)
    return Inline(data_uri("image/webp", buffer.getvalue()), picture.width, picture.height)


def data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
