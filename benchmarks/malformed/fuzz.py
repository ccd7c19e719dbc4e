"""Coverage-guided fuzzing (atheris) of the parsers: NIfTI with gzip, tar, dataset.json.

    python benchmarks/malformed/fuzz.py nifti -runs=100000 -seed=1 -max_len=65536 CORPUS

Options behind the parser's name are libFuzzer's; CORPUS is a folder with files to begin with, and gets those that reach
new code. An exception other than the parser's own refusal, or a wrong geometry, ends it and leaves the input behind.
Needs `pip install atheris` (Linux).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import atheris

with atheris.instrument_imports(include=["decaseg.storage", "decaseg.volume", "nibabel.nifti1"]):
    from tests.mutants.judge import Unpack, json_parsers, loader

PARSERS = ("nifti", "tar", "json")


def target(parser: str, folder: Path) -> Callable[[bytes], None]:
    """What takes one input."""
    unpack = Unpack(folder)

    def take(data: bytes) -> None:
        if parser == "nifti":
            path = folder / ("m.nii.gz" if data[:2] == b"\x1f\x8b" else "m.nii")
        else:
            path = folder / ("dataset.json" if parser == "json" else "m.tar")
        path.write_bytes(data)
        {"nifti": loader, "json": json_parsers, "tar": unpack}[parser](path, data)

    return take


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in PARSERS:
        sys.exit(f"name a parser: {', '.join(PARSERS)}")
    parser = sys.argv.pop(1)
    with tempfile.TemporaryDirectory() as folder:
        atheris.Setup(sys.argv, target(parser, Path(folder)))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
