"""Finds NiiVue's script in the package that carries it, and makes its class importable by our page."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

PACKAGE = "ipyniivue"
# The widget's script holds all of NiiVue but exports only the widget. Its one line that makes an instance tells the
# class's minified name; the last statement is its only export.
MAKES_INSTANCE = re.compile(r'"Creating new Niivue instance"\).{0,200}?=\s*new\s+([\w$]+)\(', re.DOTALL)
EXPORT = re.compile(r"export\s*\{[^{}]*\};?\s*\Z")


def niivue_module() -> bytes:
    """NiiVue as a JavaScript module that exports `Niivue`, read from the installed ipyniivue (nothing is imported).

    ValueError where the package is missing or lays its script out in a way not known here.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ValueError(f"{PACKAGE} is missing, the viewer's NiiVue is in it; pip install 'decaseg[view]'")
    path = Path(found.origin).parent / "static" / "widget.js"
    try:
        script = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); install {PACKAGE} again") from None
    return exporting(script).encode()


def exporting(script: str) -> str:
    """The widget's script with the class Niivue as its export; a ValueError where its form is unknown."""
    names = set(MAKES_INSTANCE.findall(script))
    if len(names) != 1 or EXPORT.search(script) is None:
        raise ValueError(
            f"{PACKAGE}: this version's script is laid out in a way that is not known here; install the version that "
            "constraints.txt names"
        )
    return EXPORT.sub(lambda _: f"export{{{names.pop()} as Niivue}};\n", script)
