"""What an image is looked at for before it is predicted: the choices of `--set input_check`."""

from __future__ import annotations

from collections.abc import Callable

from decaseg.inference.brain_check import Finding, check_brain
from decaseg.volume import Volume

InputCheck = Callable[[Volume], list[Finding]]
INPUT_CHECKS: dict[str, InputCheck] = {"brain": check_brain}  # a skull-stripped brain, lying as its header says


def find_input_check(name: str | None, source: str) -> InputCheck | None:
    """The check of that name, None for none; ValueError, naming `source`, for one this version does not know."""
    if name is None:
        return None
    if not isinstance(name, str) or name not in INPUT_CHECKS:
        known = ", ".join(INPUT_CHECKS)
        raise ValueError(f"{source}: input_check {name}: no such check; this version knows {known}")
    return INPUT_CHECKS[name]
