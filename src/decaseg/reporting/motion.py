"""Writes pictures that follow one another as GIF, WebP or MP4, each below a number of bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from decaseg.reporting.extras import need
from decaseg.storage.files import replacing

if TYPE_CHECKING:
    from PIL.Image import Image

WORKERS = min(4, os.cpu_count() or 1)
WEBP_QUALITIES = (84, 70, 50, 30)
SAMPLED_FRAMES = 6
SMALLEST_GIF, SHRUNK = 120, 0.82
HUES, VIVID, DRAWN, FEW = 12, 50, 3000, 40  # of a GIF's palette: groups of hues, what is no grey, pixels a group


def drawn(draw: Callable[[int], Image], numbers: Sequence[int]) -> list[Image]:
    """The pictures of `numbers`, in their order, drawn side by side: numpy and Pillow let threads work at once."""
    with ThreadPoolExecutor(WORKERS) as workers:
        return list(workers.map(draw, numbers))


def write_all(
    stem: Path,
    frames: Sequence[Image],
    times_ms: Sequence[int],
    kinds: Sequence[str],
    most_bytes: int,
    palette: Image | None = None,
) -> None:
    """`stem` with .gif, .webp and .mp4, as wanted. A GIF that is too large is drawn smaller until it fits."""
    jobs: list[Callable[[], None]] = []
    if "webp" in kinds:
        jobs.append(lambda: write_webp(_named(stem, "webp"), frames, times_ms, most_bytes))
    if "gif" in kinds:
        jobs.append(lambda: _write_fitting_gif(_named(stem, "gif"), frames, times_ms, most_bytes, palette))
    if "mp4" in kinds:
        jobs.append(lambda: write_mp4(_named(stem, "mp4"), frames, times_ms))
    with ThreadPoolExecutor(WORKERS) as workers:
        for done in [workers.submit(job) for job in jobs]:
            done.result()


def _write_fitting_gif(
    path: Path, frames: Sequence[Image], times_ms: Sequence[int], most_bytes: int, palette: Image | None
) -> None:
    while not write_gif(path, frames, times_ms, most_bytes, palette):
        if frames[0].width <= SMALLEST_GIF:
            raise ValueError(f"{path}: cannot be kept below {most_bytes} bytes; leave gif out of --animations")
        size = (round(frames[0].width * SHRUNK), round(frames[0].height * SHRUNK))
        frames = [frame.resize(size, need("PIL.Image").Resampling.LANCZOS) for frame in frames]


def _named(stem: Path, kind: str) -> Path:
    return stem.with_name(f"{stem.name}.{kind}")  # with_suffix would cut a case's own dots


def write_webp(path: Path, frames: Sequence[Image], times_ms: Sequence[int], most_bytes: int) -> None:
    """Full colour, a fraction of a GIF's bytes; coarser until it fits."""
    for quality in WEBP_QUALITIES:
        with replacing(path) as temporary:
            frames[0].save(
                temporary, format="WEBP", save_all=True, append_images=frames[1:], duration=list(times_ms), loop=0,
                quality=quality, method=2, minimize_size=False, allow_mixed=False,
            )  # fmt: skip
            if temporary.stat().st_size < most_bytes or quality == WEBP_QUALITIES[-1]:
                return


def write_gif(
    path: Path, frames: Sequence[Image], times_ms: Sequence[int], most_bytes: int, palette: Image | None = None
) -> bool:
    """One palette for all frames, so that nothing flickers; False where it is larger, then nothing is written.

    Without a palette it is drawn from some of the frames.
    """
    image = need("PIL.Image")
    palette = palette or shared_palette(frames)
    flat: list[Any] = [frame.quantize(palette=palette, dither=image.Dither.NONE) for frame in frames]
    try:
        with replacing(path) as temporary:
            flat[0].save(
                temporary, format="GIF", save_all=True, append_images=flat[1:], duration=list(times_ms), loop=0,
                optimize=False,
            )  # fmt: skip
            if temporary.stat().st_size > most_bytes:
                raise _TooLargeError
    except _TooLargeError:
        return False
    return True


class _TooLargeError(Exception):
    pass


def shared_palette(frames: Sequence[Image]) -> Image:
    """256 colours for all frames, from a few of them; every hue counts alike, however few its pixels."""
    image = need("PIL.Image")
    some = [frames[i] for i in sorted({round(float(k)) for k in np.linspace(0, len(frames) - 1, SAMPLED_FRAMES)})]
    pixels = np.concatenate([np.asarray(frame).reshape(-1, 3) for frame in some])
    high, low = pixels.max(axis=1).astype(np.int16), pixels.min(axis=1).astype(np.int16)
    vivid = pixels[high - low > VIVID]
    hues = np.asarray(image.fromarray(vivid[None]).convert("HSV"))[0, :, 0] // (256 // HUES + 1)
    dice = np.random.default_rng(0)
    groups = [pixels[high - low <= VIVID], *(vivid[hues == hue] for hue in range(HUES))]
    shares = [HUES * DRAWN, *[DRAWN] * HUES]
    drawn = [dice.choice(g, share) for g, share in zip(groups, shares, strict=True) if len(g) > FEW]
    sheet = image.fromarray(np.concatenate(drawn or [pixels])[None])
    palette: Image = sheet.quantize(256, method=image.Quantize.MEDIANCUT, dither=image.Dither.NONE)
    return palette


def find_ffmpeg() -> str:
    """Where ffmpeg is; ValueError when it is nowhere on the PATH."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise ValueError("--animations mp4: needs ffmpeg on the PATH; install it or leave mp4 out")
    return program


def write_mp4(path: Path, frames: Sequence[Image], times_ms: Sequence[int]) -> None:
    """H.264 by ffmpeg at the frames' commonest time, longer ones repeated; ValueError when there is no ffmpeg."""
    program = find_ffmpeg()
    tick = min(times_ms)
    width, height = frames[0].width // 2 * 2, frames[0].height // 2 * 2  # H.264 halves the colours' resolution
    with replacing(path) as temporary:
        command = [
            program, "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}",
            "-r", f"{1000 / tick:.4f}", "-i", "-", "-c:v", "libx264", "-crf", "20", "-pix_fmt", "yuv420p",
            "-movflags", "+faststart", "-f", "mp4", str(temporary),
        ]  # fmt: skip
        raw = b"".join(
            frame.crop((0, 0, width, height)).tobytes() * max(1, round(time / tick))
            for frame, time in zip(frames, times_ms, strict=True)
        )
        done = subprocess.run(command, input=raw, capture_output=True, check=False)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise ValueError(f"{path}: ffmpeg failed ({said[-1]}); leave mp4 out of --animations")
