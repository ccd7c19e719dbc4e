"""An engine that is refused memory says so; it never gives the results of the call before."""

import subprocess
import sys

import torch

from decaseg.exporting.openvino_ir import write_openvino
from decaseg.nets.spec import NetworkSpec
from decaseg.nets.unet import build

WINDOW = (8, 8, 8)
REFUSED = """
import resource, sys
from pathlib import Path
import numpy as np
from decaseg.inference.engines.openvino_engine import OpenVinoEngine

engine = OpenVinoEngine(Path(sys.argv[1]), threads=int(sys.argv[2]))
windows = np.random.default_rng(0).normal(size=(4000, 1, 8, 8, 8)).astype(np.float32)
engine(windows[:1])
now = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) << 10
resource.setrlimit(resource.RLIMIT_AS, (now, -1))
try:
    print("no error:", engine(windows).shape)
except MemoryError as error:
    print("refused:", error)
"""


def test_openvino_that_is_refused_memory_raises_memory_error(tmp_path):
    """With one thread `infer` of OpenVINO 2026.4 would return as if nothing had been, with the output of before."""
    spec = NetworkSpec(1, 2, (4, 8), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2)
    torch.manual_seed(0)
    write_openvino(build(spec), 1, WINDOW, tmp_path, "fp32")
    for threads in ("1", "2"):
        words = [sys.executable, "-c", REFUSED, str(tmp_path / "model.xml"), threads]
        done = subprocess.run(words, check=True, timeout=60, capture_output=True, text=True)
        assert done.stdout.startswith("refused: "), done.stdout
