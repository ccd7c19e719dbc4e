"""Each protocol taken apart again, and a terminal of our own that says what it is."""

from __future__ import annotations

import base64
import io
import os
import re
import sys

import numpy as np
import pytest
from PIL import Image

from decaseg.reporting.terminal_graphics import PROTOCOLS, chosen_protocol, found_protocol
from decaseg.storage import nifti
from tests.reporting.phantoms import patient, turned


@pytest.fixture
def picture():
    """Nothing symmetric about it, with runs, and rows that are no multiple of six."""
    pixels = np.zeros((20, 31, 3), np.uint8)
    pixels[:, 5:] = (178, 92, 255)
    pixels[13:, 20:] = (255, 64, 56)
    pixels[2, 3] = (255, 255, 255)
    return Image.fromarray(pixels)


def pieces_of_kitty(text):
    """(keys, data) of each command."""
    return re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)


def decoded_sixel(text):
    """Sixels as pixels (rows, columns, 3), after DEC's manual: `#` colours, `!` repeats, `$` and `-` return."""
    head = re.match(r'\x1bPq"1;1;(\d+);(\d+)', text)
    width, height = map(int, head.groups())
    pixels = np.full((height + 6, width, 3), -1)
    palette, colour, x, y = {}, 0, 0, 0
    for token in re.findall(r"#\d+(?:;2;\d+;\d+;\d+)?|!\d+.|\$|-|[?-~]", text[head.end() : -2]):
        if token[0] == "#":
            numbers = [int(n) for n in re.findall(r"\d+", token)]
            colour = numbers[0]
            if len(numbers) > 1:
                palette[colour] = [round(v * 2.55) for v in numbers[2:]]
        elif token in "$-":
            x, y = 0, y + 6 * (token == "-")
        else:
            count, letter = (int(token[1:-1]), token[-1]) if token[0] == "!" else (1, token)
            for bit in range(6):
                if (ord(letter) - 63) >> bit & 1:
                    pixels[y + bit, x : x + count] = palette[colour]
            x += count
    assert (pixels[height:] == -1).all(), "something was drawn below the picture"
    return pixels[:height]


def test_kitty_gets_the_picture_in_pieces_it_takes():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8))
    pieces = pieces_of_kitty(PROTOCOLS["kitty"](noise))
    assert len(pieces) > 2 and max(len(data) for _, data in pieces) <= 4096
    assert pieces[0][0].startswith("a=T,f=100") and [keys[-3:] for keys, _ in pieces[:-1]] == ["m=1"] * (
        len(pieces) - 1
    )
    assert pieces[-1][0] == "m=0"
    back = Image.open(io.BytesIO(base64.b64decode("".join(data for _, data in pieces))))
    assert (np.asarray(back) == np.asarray(noise)).all()


def test_iterm_gets_the_picture_and_its_size(picture):
    text = PROTOCOLS["iterm"](picture)
    keys, data = re.fullmatch(r"\x1b\]1337;File=([^:]*):([^\x07]*)\x07", text).groups()
    png = base64.b64decode(data)
    assert f"size={len(png)}" in keys and "inline=1" in keys and "width=31px" in keys
    assert (np.asarray(Image.open(io.BytesIO(png))) == np.asarray(picture)).all()


def test_sixels_are_the_picture_to_the_last_row(picture):
    assert np.abs(decoded_sixel(PROTOCOLS["sixel"](picture)) - np.asarray(picture)).max() <= 4


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM_PROGRAM": "WezTerm"}, "kitty"),
        ({"TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"TERM": "xterm-kitty", "NO_COLOR": "1"}, None),
        ({"TERM": "xterm-kitty", "TMUX": "/x,1,0"}, None),
        ({"TERM": "screen", "STY": "1"}, None),
        ({"TERM": "xterm-256color"}, None),
    ],
)
def test_terminals_are_known_by_their_variables(environment, protocol, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())  # nobody to ask
    assert found_protocol(environment, Terminal()) == protocol
    assert found_protocol(environment, io.StringIO()) is None, "a pipe"


def test_an_unknown_protocol_is_refused():
    assert chosen_protocol("blocks") is None and chosen_protocol("sixel") == "sixel"
    with pytest.raises(ValueError, match="auto, kitty, iterm, sixel or blocks"):
        chosen_protocol("png")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a pseudo-terminal")
@pytest.mark.parametrize("answer", [b"\x1b[?62;4;6c", b"\x1b[?1;2c", b""])
def test_a_terminal_that_says_it_has_sixels_gets_them_and_others_half_blocks(tmp_path, answer):
    """`decaseg view --terminal` in a pseudo-terminal that answers as a terminal does, or not at all."""
    import pty

    image, truth = (turned(v, "LPS") for v in patient())
    for name, volume in (("image", image), ("truth", truth)):
        nifti.write(tmp_path / f"{name}.nii.gz", volume)
    words = ["view", str(tmp_path / "image.nii.gz"), "--truth", str(tmp_path / "truth.nii.gz"), "--terminal"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "80", "LINES": "40"}
    for name in ("TMUX", "STY", "NO_COLOR", "TERM_PROGRAM", "LC_TERMINAL", "KITTY_WINDOW_ID"):
        environment.pop(name, None)
    child, terminal = pty.fork()
    if child == 0:
        os.execve(sys.executable, [sys.executable, "-m", "decaseg", *words], environment)
    seen, asked = b"", False
    try:
        while piece := os.read(terminal, 65536):
            seen += piece
            if b"\x1b[c" in seen and not asked:
                asked = True
                os.write(terminal, answer)
    except OSError:  # the end of a pseudo-terminal
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    text = seen.decode()
    assert asked
    if b";4;" not in answer:
        assert "▀" in text and "\x1bP" not in text
        return
    pixels = decoded_sixel(text[text.index("\x1bP") : text.index("\x1b\\", text.index("\x1bP")) + 2])
    assert pixels.shape[1] == 640  # 80 columns of 8 pixels
    green = (pixels[..., 1] - pixels[..., 0] > 60) & (pixels[..., 1] > 120)
    green[260:] = False  # the legend
    rows, columns = np.nonzero(green[:, :230])  # in the axial plane right and in front: left and up
    assert len(rows) > 50 and columns.mean() < 110
