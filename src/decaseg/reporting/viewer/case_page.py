"""A case as one HTML file that carries its layers and NiiVue: opens from disk, with no server and no network."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import struct
from collections.abc import Collection, Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decaseg.reporting.progress import progress
from decaseg.reporting.viewer.exhibit import Exhibition, Shown, encoded, show
from decaseg.reporting.viewer.niivue import niivue_module
from decaseg.reporting.viewer.tables import SCRIPTS
from decaseg.storage.files import write_text

MOST_VOXELS = 9_000_000  # a BraTS case as it is; larger ones are thinned, so that a page can be mailed
GREYS = 255
CSP = (
    "default-src 'none'; script-src 'sha256-{loader}' blob:; style-src 'unsafe-inline'; img-src data: blob:; "
    "connect-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
)


def write_case_page(path: Path, exhibition: Exhibition, index: int) -> Path:
    """Writes the viewer with one case of an exhibition in it to `path`, whole or not at all, and gives the path.

    The page holds the first channel that is shown, rounded to 255 greys between the ends of its sliders, and the label
    maps as they are; both are thinned to 9 million voxels. The page says so. It may load nothing at all from
    elsewhere. ValueError names the file that cannot be shown, or says that the extra `view` is missing.
    """
    write_text(path, case_page(show(exhibition.cases[index], exhibition, MOST_VOXELS), exhibition.title))
    return path


def case_page(shown: Shown, title: str) -> str:
    """The page's text."""
    facts = shown.to_json()
    seen = facts["channels"][shown.channel]
    facts |= {"channels": [seen], "channel": 0}
    image, rounded = _image_file(shown, seen["low"], seen["high"])
    facts |= {"greys": GREYS} if rounded else {}
    files = {f"0/{layer.key}.nii": shown.layer_file(layer.key) for layer in shown.layers} | {"0/image-0.nii": image}
    alone = Exhibition(title, (shown.case,))
    files |= {"cases.json": _json(alone.to_json()), "0/case.json": _json(facts)}
    return _page(shown.case.name, files)


def write_case_pages(folder: Path, exhibition: Exhibition, cases: Collection[str]) -> dict[str, str]:
    """Writes a page a case into `folder` and gives case -> file name, which is the case's own with only plain letters.

    Pages of before, whose cases are not among them, are left alone. ValueError as in `write_case_page`.
    """
    written: dict[str, str] = {}
    with progress("writing 3D pages") as advance:
        for index, case in enumerate(exhibition.cases):
            if case.name in cases:
                name = _file_name(case.name, set(written.values()))
                write_case_page(folder / name, exhibition, index)
                written[case.name] = name
                advance(len(written), len(cases))
    return written


def _file_name(case: str, taken: Collection[str]) -> str:
    """A name without separators, dots in front or letters that need escaping in an address; never one that is taken."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", case).lstrip(".")[:120] or "case"
    names = (f"{plain}{suffix}.html" for suffix in ("", *(f"-{i}" for i in range(2, len(taken) + 3))))
    return next(name for name in names if name.lower() not in {t.lower() for t in taken})


def _image_file(shown: Shown, low: float, high: float) -> tuple[bytes, bool]:
    """The channel as a NIfTI file of bytes whose slope and intercept give its values back, and whether it lost any.

    The sliders reach half a window beyond its ends; what is darker or brighter is as dark or bright as they go.
    """
    array = shown.thinned(shown.image.array[shown.channel])
    if array.dtype == np.uint8:
        return encoded(array, shown.affine), False
    width = (high - low) or 1.0
    start, slope = low - width / 2, 2 * width / GREYS
    steps: NDArray = (np.nan_to_num(array.astype(np.float32), posinf=start, neginf=start) - start) / slope
    data = bytearray(encoded(np.clip(np.rint(steps), 0, GREYS).astype(np.uint8), shown.affine))
    struct.pack_into("<ff", data, 112, slope, start)  # scl_slope and scl_inter
    return bytes(data), True


def _page(name: str, files: Mapping[str, bytes]) -> str:
    """The viewer's own page with its style inline, its scripts and all files packed into it, and a loader for them."""
    folder = resources.files("decaseg.reporting.viewer").joinpath("pages")

    def own(file: str) -> str:
        return folder.joinpath(file).read_text(encoding="utf-8")

    loader = own("unpack.js")
    digest = base64.b64encode(hashlib.sha256(loader.encode()).digest()).decode()
    modules = {"niivue.js": niivue_module(), **{name: own(name).encode() for name in SCRIPTS}}
    texts = {key: _packed_script(data) for key, data in modules.items()}
    texts |= {key: _packed(data) for key, data in files.items()}
    packed = "\n".join(
        f'<script type="application/octet-stream" data-path="{key}">{text}</script>' for key, text in texts.items()
    )
    policy = f'<meta http-equiv="Content-Security-Policy" content="{CSP.format(loader=digest)}">'
    changes = {
        '<meta charset="utf-8">': f'<meta charset="utf-8">\n{policy}',
        "<title>decaseg view</title>": f"<title>{_text(name)}</title>",
        '<link rel="stylesheet" href="viewer.css">': f"<style>\n{own('viewer.css')}</style>",
        '<script type="module" src="viewer.js"></script>\n': "",
        "</body>": f"{packed}\n<script>{loader}</script>\n</body>",
    }
    page = own("index.html")
    for old, new in changes.items():
        assert page.count(old) == 1, old
        page = page.replace(old, new)
    return page


@lru_cache(maxsize=8)
def _packed_script(data: bytes) -> str:
    return _packed(data)  # NiiVue is the same in every page


def _packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode()


def _json(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()


def _text(name: str) -> str:
    return name.replace("&", "&amp;").replace("<", "&lt;")
