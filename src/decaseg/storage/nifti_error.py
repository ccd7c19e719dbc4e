"""The one error that reading NIfTI raises."""

from __future__ import annotations

from pathlib import Path


class NiftiError(ValueError):
    """A file that cannot be trusted as NIfTI: its path, the fault and the way out, in one line."""

    def __init__(self, file: Path, fault: str, fix: str) -> None:
        super().__init__(file, fault, fix)  # all three in args, so that it survives the way back from a worker process
        self.file, self.fault, self.fix = file, fault, fix

    def __str__(self) -> str:
        return f"{self.file}: {self.fault}; {self.fix}"
