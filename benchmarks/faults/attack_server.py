"""Good and bad clients at once on `decaseg serve`, and a model that crashes again and again.

    python benchmarks/faults/attack_server.py BUNDLE IMAGE … --count 10000 --seed 7

Half of the requests are valid and must come back with the label map of `decaseg predict`, byte for byte; the others are
damaged images, requests that cannot be, wrong tokens and hostile names (`tests/attacks/servers.py`). Exit code 1 for a
5xx, other labels, anything but 401 to a wrong token, a 4xx after more than a second (but for damaged images, which are
read first), a file outside of the spool, growth by more than 5 %, or a model that is not back 10 s after its crash.
Load of valid images alone, 64 clients on a queue of 8 and 200 slow connections: benchmarks/serving/load.py.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "serving")]

from surroundings import heading, memory_mib  # noqa: E402
from tests.attacks.servers import TOKEN, Crowd, outside, truths, write_token  # noqa: E402
from tests.serving.running import RAW, Running, until  # noqa: E402

GROWTH, AT_ONCE_S, BACK_S = 0.05, 1.0, 10.0


def crashes(server: Running, crowd: Crowd, rounds: int) -> list[float]:
    """Seconds until the server is ready again after its model's process got SIGSEGV, `rounds` times."""
    taken, trusted = [], {"Authorization": f"Bearer {TOKEN}"}

    def starts() -> float:
        return server.metrics(trusted)["decaseg_worker_starts_total"]

    for _ in range(rounds):
        before = starts()
        os.kill(server.model_pid(), signal.SIGSEGV)
        started = time.monotonic()
        until(lambda before=before: starts() > before)  # it has noticed
        until(lambda: server.ask("GET", "/ready")[0] == 200)
        taken.append(time.monotonic() - started)
        image, wanted = crowd.pairs[0]
        if crowd.ask(image, RAW | trusted) != (200, wanted):
            taken.append(float("inf"))
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--crashes", type=int, default=10)
    parser.add_argument("--clients", type=int, default=8)
    args = parser.parse_args()
    print(heading(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        pairs = truths(args.model, args.images, work)
        options = ("--token-file", write_token(work / "secret"), "--queue", 64, "--max-image", 4)
        with Running(args.model, work / "server" / "here", *options) as server:
            before, crowd = outside(server), Crowd(server, pairs, work, args.seed)
            memory = []
            for tenth in range(10):
                crowd.ask_all(args.count * tenth // 10, args.count * (tenth + 1) // 10, args.clients)
                memory.append(memory_mib(server))
            back = crashes(server, crowd, args.crashes)
            clean = outside(server) == before and server.files() == []
    for sort, answers in crowd.sorts.items():
        seconds = np.percentile(crowd.seconds[sort], [50, 100])
        counted = ", ".join(f"{count} x {status}" for status, count in sorted(answers.items()))
        print(f"{sort}: {counted}; {seconds[0] * 1000:.0f} ms median, {seconds[1] * 1000:.0f} at most")
    for name in memory[0]:
        print(f"{name}, MiB after each tenth: {', '.join(f'{at[name]:.1f}' for at in memory)}")
    print(f"ready after a crash: {np.median(back):.1f} s median, {max(back):.1f} at most, of {args.crashes}")
    print(
        f"{args.count} requests, seed {args.seed}: {len(crowd.bad)} not as they must be; nothing left behind: {clean}"
    )
    for one in crowd.bad[:20]:
        print("  bad:", *one)
    slow = max(crowd.seconds["token"] + crowd.seconds["lie"]) > AT_ONCE_S
    grown = any(memory[-1][name] > memory[0][name] * (1 + GROWTH) for name in memory[0])
    print(
        "as it must be" if not (crowd.bad or slow or grown or not clean or max(back) > BACK_S) else "NOT as it must be"
    )
    return 1 if crowd.bad or slow or grown or not clean or max(back) > BACK_S else 0


if __name__ == "__main__":
    sys.exit(main())
