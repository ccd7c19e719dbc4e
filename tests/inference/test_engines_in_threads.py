"""An engine may be called from several threads at once, from its very first call on."""

import subprocess
import sys

import numpy as np
import torch

from decaseg.exporting.openvino_ir import write_openvino
from decaseg.inference.engines.openvino_engine import OpenVinoEngine
from decaseg.nets.spec import NetworkSpec
from decaseg.nets.unet import build

WINDOW = (8, 8, 8)
THREADS = """
import sys, threading
from pathlib import Path
import numpy as np
from decaseg.inference.engines.openvino_engine import OpenVinoEngine

sys.setswitchinterval(1e-6)  # as unlucky as can be
engine = OpenVinoEngine(Path(sys.argv[1]), streams=2)
window, start = np.zeros((1, 1, 8, 8, 8), np.float32), threading.Barrier(6)

def work():
    start.wait()
    assert engine(window).shape == (1, 2, 8, 8, 8)

threads = [threading.Thread(target=work) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_first_calls_at_once_do_not_wait_for_each_other_for_ever(tmp_path):
    spec = NetworkSpec(1, 2, (4, 8), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2)
    torch.manual_seed(0)
    write_openvino(build(spec), 1, WINDOW, tmp_path, "fp32")
    for _ in range(6):  # without what prevents it, every fourth hung
        subprocess.run([sys.executable, "-c", THREADS, str(tmp_path / "model.xml")], check=True, timeout=300)
    windows = np.random.default_rng(0).normal(size=(2, 1, *WINDOW)).astype(np.float32)
    one = OpenVinoEngine(tmp_path / "model.xml", threads=2)
    np.testing.assert_allclose(one.in_streams(2)(windows), one(windows), atol=1e-5)
