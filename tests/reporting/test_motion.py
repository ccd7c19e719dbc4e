from __future__ import annotations

import stat

import numpy as np
import pytest
from PIL import Image

from decaseg.reporting.motion import shared_palette, write_all, write_mp4, write_webp


def noise(count=4, side=160):
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (side, side, 3), dtype=np.uint8)) for _ in range(count)]


def test_gifs_shrink_and_webps_get_coarser_until_they_fit(tmp_path):
    frames = noise()
    write_all(tmp_path / "a", frames, [80] * 4, ("gif", "webp"), 10**9)
    large = {kind: (tmp_path / f"a.{kind}").stat().st_size for kind in ("gif", "webp")}
    write_all(tmp_path / "b", frames, [80] * 4, ("gif", "webp"), int(0.8 * min(large.values())))
    for kind in ("gif", "webp"):
        assert (tmp_path / f"b.{kind}").stat().st_size < 0.8 * large[kind]
    with Image.open(tmp_path / "b.gif") as gif:
        assert gif.width < 160 and gif.n_frames == 4
    with pytest.raises(ValueError, match=r"c\.gif: cannot be kept below 10 bytes"):
        write_all(tmp_path / "c", frames, [80] * 4, ("gif",), 10)
    assert not list(tmp_path.glob("c*")) and not list(tmp_path.glob(".*"))


def test_times_are_kept(tmp_path):
    frames = [Image.new("RGB", (20, 20), (k * 40, 0, 0)) for k in range(3)]
    write_all(tmp_path / "a", frames, [50, 90, 400], ("gif", "webp"), 10**6)
    for kind in ("gif", "webp"):
        with Image.open(tmp_path / f"a.{kind}") as moving:
            times = []
            for k in range(moving.n_frames):
                moving.seek(k)
                moving.load()
                times.append(moving.info["duration"])
        assert times == [50, 90, 400]


def test_a_few_red_pixels_keep_their_red_in_a_palette_of_greys():
    ramp = np.tile(np.linspace(0, 255, 300).astype(np.uint8)[None, :, None], (200, 1, 3))
    ramp[100:108, 100:108] = (255, 64, 56)
    frame = Image.fromarray(ramp)
    flat = np.asarray(frame.quantize(palette=shared_palette([frame]), dither=Image.Dither.NONE).convert("RGB"))
    assert np.abs(flat[104, 104].astype(int) - (255, 64, 56)).max() < 12


def test_mp4_says_what_it_needs_and_hands_frames_to_ffmpeg(tmp_path, monkeypatch):
    frames = noise(3, 21)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="mp4: needs ffmpeg on the PATH"):
        write_mp4(tmp_path / "a.mp4", frames, [80] * 3)
    pretended = tmp_path / "ffmpeg"  # counts the bytes that it gets and writes that into its last argument
    pretended.write_text('#!/bin/sh\nfor last; do :; done\n/usr/bin/wc -c > "$last"\n')
    pretended.chmod(pretended.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    write_mp4(tmp_path / "a.mp4", frames, [80, 80, 240])
    assert int((tmp_path / "a.mp4").read_text()) == 5 * 20 * 20 * 3  # even edges, and the long frame three times
    pretended.write_text("#!/bin/sh\necho no such codec >&2\nexit 1\n")
    with pytest.raises(ValueError, match=r"ffmpeg failed .no such codec"):
        write_mp4(tmp_path / "b.mp4", frames, [80] * 3)
    assert not (tmp_path / "b.mp4").exists()


def test_webp_takes_the_best_quality_that_fits(tmp_path):
    write_webp(tmp_path / "a.webp", noise(), [80] * 4, 10**9)
    write_webp(tmp_path / "b.webp", noise(), [80] * 4, (tmp_path / "a.webp").stat().st_size - 1)
    assert 0.4 < (tmp_path / "b.webp").stat().st_size / (tmp_path / "a.webp").stat().st_size < 1
