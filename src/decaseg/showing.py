"""What shows itself in notebooks: a picture where a value is printed, the 3D viewer where `show()` is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# By name, and only when a notebook asks: the drawing lies above everything that can be drawn.
DRAWING = "decaseg.workflows.notebook"


class ShowsItself:
    """Gives a class `_repr_html_`, which Jupyter calls for the last value of a cell, and `show()`."""

    def _repr_html_(self) -> str | None:
        """A small picture with what can be said beside it, as HTML; None, so that text is shown, for what has none."""
        html: str | None = import_module(DRAWING).html(self)
        return html

    def show(self, height: int = 560, **more: Any) -> Any:
        """The 3D viewer in the notebook, `height` pixels high: an object that Jupyter shows as the cell's value.

        It needs the extra `view` and no network; about 2 MB and the case's own size go into the notebook each time.
        ValueError for what cannot be shown.
        """
        return import_module(DRAWING).viewer(self, height, **more)
