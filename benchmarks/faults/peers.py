"""The writers of decaseg and its peers, killed while they write over an older file, and on a disk that is full.

    python benchmarks/faults/peers.py --count 50 --seed 0

nnU-Net saves checkpoints by `torch.save` to the file's own name, and preprocessed cases by `numpy.savez_compressed`
(later versions by blosc2, in place too); it is not installed here, so those calls stand for it. MONAI's is its own
function. The new file is twice as large as the old one, and the disk has room for 1.4 old ones. "half": what lies under
the file's name afterwards can be read neither as the new one nor as the old one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

import nibabel as nib  # noqa: E402
import numpy as np  # noqa: E402
import SimpleITK as sitk  # noqa: E402
import torch  # noqa: E402
from tests.faults.trials import mounted, unmounted  # noqa: E402

from decaseg.storage import nifti  # noqa: E402
from decaseg.storage.provenance import processor_name  # noqa: E402
from decaseg.training.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from decaseg.volume import Volume  # noqa: E402

SIDE = 96  # voxels an axis
FLOATS = 3_000_000  # in a checkpoint
Write = Callable[[Path, int], Any]  # (file, 1 for the old one or 2 for the new one)


def state_of(number: int) -> dict[str, Any]:
    return {"step": number, "w": torch.rand(FLOATS * number)}


def array_of(number: int) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 400, (SIDE, SIDE, SIDE * number), np.int16)
    noise[0, 0, 0] = number
    return noise


def by_decaseg_checkpoint(path: Path, number: int) -> None:
    save_checkpoint(path, path.with_name("previous"), state_of(number))


def by_torch(path: Path, number: int) -> None:
    torch.save(state_of(number), path)


def by_monai(path: Path, number: int) -> None:
    from monai.networks.utils import save_state

    save_state(state_of(number), path)


def by_numpy(path: Path, number: int) -> None:
    np.savez_compressed(path, data=array_of(number))


def by_decaseg_nifti(path: Path, number: int) -> None:
    nifti.write(path, Volume.of(array_of(number)[None]))


def by_nibabel(path: Path, number: int) -> None:
    nib.save(nib.Nifti1Image(array_of(number), np.eye(4)), path)


def by_simpleitk(path: Path, number: int) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(array_of(number)), str(path))


def of_checkpoint(path: Path) -> int:
    return int(load_checkpoint(path, path.with_name("none"))["step"])


def of_nifti(path: Path) -> int:
    return int(nifti.read(path).array[0, 0, 0, 0])


def of_numpy(path: Path) -> int:
    return int(np.load(path)["data"][0, 0, 0])


WRITERS: dict[str, tuple[str, Write, Callable[[Path], int]]] = {
    "decaseg, checkpoint": ("last.pt", by_decaseg_checkpoint, of_checkpoint),
    "torch.save in place, as nnU-Net": ("last.pth", by_torch, of_checkpoint),
    "MONAI save_state": ("last.pt", by_monai, of_checkpoint),
    "numpy.savez_compressed, as nnU-Net's preprocessing": ("case.npz", by_numpy, of_numpy),
    "decaseg, NIfTI": ("case.nii.gz", by_decaseg_nifti, of_nifti),
    "nibabel.save": ("case.nii.gz", by_nibabel, of_nifti),
    "SimpleITK.WriteImage": ("case.nii.gz", by_simpleitk, of_nifti),
}


def found(path: Path, read: Callable[[Path], int]) -> str:
    if not path.exists():
        return "absent"
    copy = path.with_name(f"copy-{path.name}")  # reading renames a damaged checkpoint
    copy.write_bytes(path.read_bytes())
    try:
        return {1: "old", 2: "new"}[read(copy)]
    except Exception:
        return "half"
    finally:
        copy.unlink(missing_ok=True)


def written(write: Write, path: Path, number: int, pipe: Any) -> None:
    """The child's part: what came of it goes into the pipe."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        write(path, number)
        pipe.send("said nothing")
    except BaseException as error:
        pipe.send(f"{type(error).__name__}: {' '.join(str(error).split())[:60]}")


def child(write: Write, path: Path, number: int, kill_after_s: float | None = None) -> str:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=written, args=(write, path, number, theirs))
    process.start()
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        process.kill()
    process.join()
    return ours.recv() if ours.poll() else "killed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    torch.set_num_threads(1)
    versions = f"torch {torch.__version__}, nibabel {nib.__version__}, SimpleITK {sitk.Version.VersionString()}"
    print(f"{processor_name()}, {os.cpu_count()} cores, {versions}, seed {told.seed}")
    print(
        "| writer | killed | what lies there then | full disk | what lies there then |\n| --- | --- | --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory() as name:
        for kind, (file, write, read) in WRITERS.items():
            draw, path, after = random.Random(told.seed), Path(name) / file, Counter()
            write(path, 1)
            begun = time.monotonic()
            child(write, path, 2)
            span_s, kills = time.monotonic() - begun, 0
            for _ in range(told.count):
                write(path, 1)
                if child(write, path, 2, draw.uniform(0, span_s)) == "killed":
                    kills += 1
                    after[found(path, read)] += 1
            disk = Path(name) / "disk"
            write(path, 1)
            if not mounted(disk, int(1.4 * path.stat().st_size / 1024)):
                raise SystemExit("needs the right to mount a tmpfs")
            write(disk / file, 1)
            said = child(write, disk / file, 2)
            lies = found_elsewhere(disk / file, Path(name), read)
            unmounted(disk)
            came = ", ".join(f"{number} {what}" for what, number in after.most_common())
            print(f"| {kind} | {kills} | {came} | {said} | {lies} |", flush=True)


def found_elsewhere(path: Path, folder: Path, read: Callable[[Path], int]) -> str:
    """`found`, of a copy where there is room."""
    if not path.exists():
        return "absent"
    copy = folder / f"from-disk-{path.name}"
    copy.write_bytes(path.read_bytes())
    return found(copy, read)


if __name__ == "__main__":
    main()
