from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from decaseg.reporting.sections.moving import inline_motion


def gif(path, size=(80, 60), frames=6, noise=True):
    random = np.random.default_rng(0)
    pictures = [
        Image.fromarray(random.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8) if noise else
                        np.full((size[1], size[0], 3), 20 * i, np.uint8))
        for i in range(frames)
    ]  # fmt: skip
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=90)
    return path


def test_it_moves_as_long_as_before_and_is_small_enough(tmp_path):
    path = gif(tmp_path / "a.gif")
    whole = inline_motion(path, 10**6)
    assert (whole.width, whole.height) == (80, 60)
    picture = Image.open(io.BytesIO(base64.b64decode(whole.uri.split(",")[1])))
    assert picture.n_frames == 6 and picture.format == "WEBP"


def test_a_large_one_shrinks_until_it_fits_or_is_left_out(tmp_path):
    path = gif(tmp_path / "a.gif", (900, 700))
    whole = inline_motion(path, 10**7)
    assert whole.height == 560
    size = len(whole.uri) * 3 // 4
    smaller = inline_motion(path, size // 2)
    assert smaller.height < 560 and len(smaller.uri) * 3 // 4 <= size // 2 + 40
    assert inline_motion(path, 1000) is None


def test_a_damaged_one_is_left_out(tmp_path):
    (tmp_path / "a.gif").write_bytes(b"GIF89a nothing")
    assert inline_motion(tmp_path / "a.gif", 10**6) is None
