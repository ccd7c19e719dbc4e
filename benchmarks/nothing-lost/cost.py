"""Seconds to save and to load a checkpoint, and to check cached cases: python benchmarks/nothing-lost/cost.py FOLDER"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch

from decaseg.storage.cache import Cache
from decaseg.training.checkpoint import load_checkpoint, save_checkpoint

folder = Path(sys.argv[1])
for parameters in (1_400_000, 31_000_000):  # the recipe quick on hippocampus; default (32 to 320 filters)
    # weights, two moments of AdamW, the moving average
    state = {name: torch.rand(parameters) for name in ("model", "first", "second", "average")}
    paths = folder / "last.pt", folder / "previous.pt"
    saving, loading = [], []
    for _ in range(3):
        began = time.perf_counter()
        save_checkpoint(*paths, state)
        saving.append(time.perf_counter() - began)
        began = time.perf_counter()
        load_checkpoint(*paths)
        loading.append(time.perf_counter() - began)
    print(f"{parameters} parameters: saved in {sorted(saving)[1]:.2f} s, loaded in {sorted(loading)[1]:.2f} s")
    for path in paths:
        path.unlink()
cache = Cache(folder / "cache")
arrays = {"image": np.ones((4, 138, 170, 138), np.float16), "label": np.ones((138, 170, 138), np.uint8)}  # brain tumour
began = time.perf_counter()
cache.put("a", arrays, {})
put = time.perf_counter() - began
getting = []
for _ in range(5):
    began = time.perf_counter()
    cache.get("a")
    getting.append(time.perf_counter() - began)
size = sum(array.nbytes for array in arrays.values()) / 1e6
print(f"a case of {size:.0f} MB: put in {put:.3f} s, opened and checked in {sorted(getting)[2]:.3f} s")
