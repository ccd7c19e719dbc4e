"""Pictures in terminals that draw them: kitty's and iTerm2's protocols, and sixels."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TYPE_CHECKING

import numpy as np

from decaseg.reporting.planes import PLANES, Plane
from decaseg.reporting.three_planes import draw_three_planes
from decaseg.volume import Volume

if TYPE_CHECKING:
    from PIL.Image import Image

PIECE = 4096  # letters of base64 that kitty takes at a time
ANSWER_S = 0.3  # how long a terminal may think about what it is
SIXEL_COLOURS = 255


def kitty(picture: Image) -> str:
    """PNG in pieces, each an application command (sw.kovidgoyal.net/kitty/graphics-protocol)."""
    text = base64.b64encode(_png(picture)).decode()
    pieces = [text[i : i + PIECE] for i in range(0, len(text), PIECE)]
    last = len(pieces) - 1
    heads = [f"{'a=T,f=100,q=2,' if i == 0 else ''}m={int(i < last)}" for i in range(len(pieces))]
    return "".join(f"\x1b_G{head};{piece}\x1b\\" for head, piece in zip(heads, pieces, strict=True))


def iterm(picture: Image) -> str:
    """PNG as one operating system command (iterm2.com/documentation-images.html)."""
    data = _png(picture)
    head = f"inline=1;size={len(data)};width={picture.width}px;height={picture.height}px;preserveAspectRatio=1"
    return f"\x1b]1337;File={head}:{base64.b64encode(data).decode()}\x07"


def sixel(picture: Image) -> str:
    """Bands of six rows, one pass a colour, as DEC's VT340 manual has them; 255 colours chosen for the picture."""
    reduced = picture.convert("RGB").quantize(SIXEL_COLOURS)
    pixels = np.asarray(reduced)
    palette = np.array(reduced.getpalette() or [], dtype=float).reshape(-1, 3)
    parts = [f'\x1bPq"1;1;{picture.width};{picture.height}']
    for index in np.unique(pixels):
        r, g, b = (round(v / 255 * 100) for v in palette[index])
        parts.append(f"#{index};2;{r};{g};{b}")
    weights = 1 << np.arange(6)[:, None]
    for top in range(0, picture.height, 6):
        band = pixels[top : top + 6]
        passes = []
        for index in np.unique(band):
            letters = 63 + ((band == index) * weights[: len(band)]).sum(axis=0)
            passes.append(f"#{index}{_packed(letters)}")
        parts.append("$".join(passes) + "-")
    return "".join(parts) + "\x1b\\"


PROTOCOLS: Mapping[str, Callable[[Image], str]] = {"kitty": kitty, "iterm": iterm, "sixel": sixel}


def found_protocol(environment: Mapping[str, str], file: IO[str]) -> str | None:
    """What this terminal draws pictures by; None for none, which is also said of tmux, screen, pipes and NO_COLOR.

    kitty's and iTerm2's terminals are known by their variables. Others are asked who they are, as DEC's terminals
    were: sixels are attribute 4 of the answer. Multiplexers answer for themselves, not for the terminal round them.
    """
    if environment.get("NO_COLOR") or not file.isatty() or any(map(environment.get, ("TMUX", "STY"))):
        return None
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if "kitty" in term or environment.get("KITTY_WINDOW_ID") or program in ("ghostty", "WezTerm"):
        return "kitty"
    if program == "iTerm.app" or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm"
    return "sixel" if "4" in _attributes(file) else None


def chosen_protocol(name: str) -> str | None:
    """The protocol of `--graphics`; None for half blocks. ValueError lists the names."""
    if name not in ("auto", "blocks", *PROTOCOLS):
        raise ValueError(f"--graphics {name}: choose auto, {', '.join(PROTOCOLS)} or blocks")
    if name == "auto":
        return found_protocol(os.environ, sys.stdout)
    return name if name in PROTOCOLS else None


def print_picture(
    protocol: str,
    title: str,
    image: Volume,
    prediction: Volume | None,
    truth: Volume | None,
    names: Mapping[int, str],
    channel: int,
    planes: Sequence[Plane] | None,
) -> None:
    """Prints a case as `draw_three_planes` draws it, no wider than the terminal."""
    picture = draw_three_planes(image, prediction, truth, names, channel, planes or PLANES)
    most = width_px(sys.stdout, shutil.get_terminal_size().columns)
    if picture.width > most:
        picture = picture.resize((most, max(1, round(picture.height * most / picture.width))), resample=1)  # Lanczos
    print(f"{title}\n{PROTOCOLS[protocol](picture)}", flush=True)


def _attributes(file: IO[str]) -> list[str]:
    """The primary device attributes of the terminal on standard input and `file`; empty where nobody answers."""
    try:
        import termios
        import tty
        from select import select
    except ImportError:  # Windows
        return []
    if not sys.stdin.isatty() or os.environ.get("TERM", "") in ("", "dumb"):
        return []
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    answer = b""
    try:
        tty.setcbreak(keyboard)
        file.write("\x1b[c")
        file.flush()
        while select([keyboard], [], [], ANSWER_S)[0] and not answer.endswith(b"c"):
            answer += os.read(keyboard, 64)
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)
    told = re.search(rb"\x1b\[\?([\d;]*)c", answer)
    return told.group(1).decode().split(";") if told else []


def width_px(file: IO[str], columns: int) -> int:
    """How many pixels a terminal is wide; eight a column where it does not say."""
    try:
        from fcntl import ioctl
        from termios import TIOCGWINSZ

        pixels = int(struct.unpack("HHHH", ioctl(file.fileno(), TIOCGWINSZ, bytes(8)))[2])
    except (ImportError, OSError, ValueError):
        pixels = 0
    return pixels or 8 * columns


def _png(picture: Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()


def _packed(letters: np.ndarray) -> str:
    """Runs of four letters and more as `!n` and the letter; nothing for what is empty to the right."""
    text = "".join(map(chr, letters)).rstrip("?")
    return re.sub(r"(.)\1{3,}", lambda run: f"!{len(run.group())}{run.group(1)}", text)
