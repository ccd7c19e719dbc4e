"""Where the memory of `decaseg serve` goes under attacks alone: objects, blocks in use, blocks kept after use.

    python benchmarks/faults/server_memory.py BUNDLE IMAGE … --count 8000 --steps 16 --seed 32

Half of the requests are damaged images, a quarter each requests that cannot be and wrong tokens; none is valid. The
server is the real command, run by this file, which answers SIGUSR1 with a line of what its heap (glibc's) holds.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FACTS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
SERVED = "DECASEG_HEAP_FACTS"  # the file for its lines; where it is set, this file is the server


class MallInfo(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = [(name, ctypes.c_size_t) for name in FACTS]


def tell(*_: object) -> None:
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = MallInfo
    gc.collect()
    heap = libc.mallinfo2()
    used, kept = heap.uordblks / 2**20, heap.fordblks / 2**20
    Path(os.environ[SERVED]).write_text(
        f"{len(gc.get_objects()):,} objects, {used:.1f} MiB in use, {kept:.1f} MiB kept"
    )


def measure(args: argparse.Namespace) -> None:
    sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "serving")]
    import numpy as np
    from surroundings import heading, memory_mib
    from tests.attacks.servers import Crowd, truths, write_token
    from tests.serving.running import Running

    print(heading(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        pairs = truths(args.model, args.images, work)
        os.environ[SERVED] = str(work / "facts")
        options = ("--token-file", write_token(work / "secret"), "--queue", 64, "--max-image", 4)
        with Running(args.model, work / "server" / "here", *options, program=(__file__,)) as server:
            crowd = Crowd(server, pairs, work, args.seed)
            sorts = (crowd.damaged, crowd.lie, crowd.token, crowd.damaged)
            crowd.one = lambda index: sorts[index % 4](index, np.random.default_rng([args.seed, index]))  # type: ignore[method-assign]
            for step in range(args.steps):
                crowd.ask_all(args.count * step // args.steps, args.count * (step + 1) // args.steps)
                server.process.send_signal(signal.SIGUSR1)
                time.sleep(0.5)
                resident = memory_mib(server)["server"]
                print(
                    f"{args.count * (step + 1) // args.steps:,}: {resident:.1f} MiB; {(work / 'facts').read_text()}",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=8000)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    measure(parser.parse_args())


if __name__ == "__main__":
    if SERVED in os.environ and sys.argv[1:2] == ["serve"]:
        from decaseg.cli import main as decaseg

        signal.signal(signal.SIGUSR1, tell)
        decaseg()
    main()
