"""The fixed table of everything a viewer answers: its page, NiiVue, and the layers of its cases."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import resources

from decaseg.reporting.viewer.exhibit import Cabinet, Exhibition
from decaseg.reporting.viewer.niivue import niivue_module
from decaseg.reporting.viewer.server import Answer

SCRIPTS = ("keys.js", "labels.js", "panel.js", "viewer.js")  # the last imports the others and NiiVue
SCRIPT = "text/javascript; charset=utf-8"
PAGES = {
    "": ("index.html", "text/html; charset=utf-8"),
    **{name: (name, SCRIPT) for name in SCRIPTS},
    "viewer.css": ("viewer.css", "text/css; charset=utf-8"),
}
MOST_CHANNELS = 64
LAYERS = ("prediction", "truth", "verdict")
NIFTI = "application/octet-stream"


def make_table(exhibition: Exhibition) -> dict[str, Callable[[], Answer]]:
    """Name -> what makes its answer. Cases are read when they are asked for, and only those of the exhibition."""
    folder = resources.files("decaseg.reporting.viewer").joinpath("pages")
    table: dict[str, Callable[[], Answer]] = {}
    for name, (file, kind) in PAGES.items():
        table[name] = partial(Answer, folder.joinpath(file).read_bytes(), kind)
    table["niivue.js"] = partial(Answer, niivue_module(), SCRIPT)
    table["cases.json"] = partial(Answer.json, exhibition.to_json())
    cabinet = Cabinet(exhibition)
    for index in range(len(exhibition.cases)):
        table[f"{index}/case.json"] = partial(_facts, cabinet, index)
        for key in LAYERS:
            table[f"{index}/{key}.nii"] = partial(_layer, cabinet, index, key)
        for channel in range(MOST_CHANNELS):
            table[f"{index}/image-{channel}.nii"] = partial(_image, cabinet, index, channel)
    return table


def _facts(cabinet: Cabinet, index: int) -> Answer:
    """A case that cannot be shown is an answer too: the page says why, and the next one may be fine."""
    try:
        return Answer.json(cabinet.shown(index).to_json())
    except ValueError as error:
        return Answer.json({"error": str(error)})


def _layer(cabinet: Cabinet, index: int, key: str) -> Answer:
    shown = cabinet.shown(index)
    if key not in (layer.key for layer in shown.layers):
        raise ValueError(f"{shown.case.name}: has no {key}")
    return Answer(shown.layer_file(key), NIFTI)


def _image(cabinet: Cabinet, index: int, channel: int) -> Answer:
    shown = cabinet.shown(index)
    if channel >= len(shown.channels):
        raise ValueError(f"{shown.case.image}: has no channel {channel + 1}")
    return Answer(shown.image_file(channel), NIFTI)
