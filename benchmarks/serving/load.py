"""Valid load on `decaseg serve`: many requests, a crowd at a small queue, slow clients beside a good one.

    python benchmarks/serving/load.py BUNDLE IMAGE …

Every answer is compared with what `decaseg predict` writes for the same image. Exit code 1 where something is not as
it must be. The server is the real command in a process of its own; clients are threads of this one.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from surroundings import Client, Counter, Running, heading, memory_mib
from tests.attacks.servers import truths
from tests.serving.running import RAW, until
from tests.serving.test_attack import drip

GROWTH = 0.05


def steady(server: Running, pairs: list[tuple[bytes, bytes]], requests: int, clients: int) -> bool:
    """`requests` by `clients` at a time: no error, equal labels, no growth after the first tenth."""
    local, taken = threading.local(), []
    numbers = itertools.count()
    warm: dict[str, float] = {}

    def one(number: int) -> str:
        if not hasattr(local, "client"):
            local.client = Client(server.port)
        image, wanted = pairs[number % len(pairs)]
        started = time.perf_counter()
        status, data = local.client.ask(image, RAW)
        taken.append(time.perf_counter() - started)
        if next(numbers) == requests // 10:
            warm.update(memory_mib(server))
        return "equal" if (status, data) == (200, wanted) else f"status {status}" if status != 200 else "other labels"

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        outcomes = Counter(pool.map(one, range(requests)))
    seconds = time.perf_counter() - started
    end = memory_mib(server)
    milliseconds = np.percentile(taken, [50, 95, 100]) * 1000
    print(f"steady: {dict(outcomes)}, {requests / seconds:.1f} a second, "
          f"{milliseconds[0]:.0f} ms median, {milliseconds[1]:.0f} 95th, {milliseconds[2]:.0f} longest")  # fmt: skip
    for name in end:
        grown = end[name] / warm[name] - 1
        print(f"  {name}: {warm[name]:.1f} MiB after a tenth, {end[name]:.1f} at the end ({grown:+.1%})")
    return set(outcomes) == {"equal"} and all(end[name] < warm[name] * (1 + GROWTH) for name in end)


def crowd(server: Running, pairs: list[tuple[bytes, bytes]], clients: int, rounds: int) -> bool:
    """`clients` at once on a queue of 8: each gets its labels, or 429 at once."""
    image, wanted = pairs[0]
    outcomes: Counter[str] = Counter()
    refused_s = []

    def one(_: int) -> None:
        client = Client(server.port)
        started = time.perf_counter()
        status, data = client.ask(image, RAW)
        if status == 429:
            refused_s.append(time.perf_counter() - started)
        outcomes["equal" if (status, data) == (200, wanted) else str(status)] += 1

    for _ in range(rounds):
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(one, range(clients)))
    print(f"crowd of {clients} on a queue of 8, {rounds} times: {dict(outcomes)}; 429 after "
          f"{np.median(refused_s) * 1000:.0f} ms median, {max(refused_s) * 1000:.0f} ms longest")  # fmt: skip
    return set(outcomes) == {"equal", "429"} and max(refused_s) < 1


def beside_slow_ones(server: Running, pairs: list[tuple[bytes, bytes]], connections: int) -> bool:
    """A good client's latency alone, and beside connections that send a byte a second."""
    image, client = pairs[0][0], Client(server.port)

    def latencies(seconds: float) -> list[float]:
        found, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end:
            started = time.perf_counter()
            assert client.ask(image, RAW)[0] == 200
            found.append(time.perf_counter() - started)
        return found

    latencies(2)
    alone = latencies(8)
    cut: list[float] = []
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
    heads = (head + b"Content-Length: 100000\r\n\r\n", head + b"X: ")
    count, before = connections // len(heads), server.descriptors()
    threads = [threading.Thread(target=drip, args=(server, h, cut, count)) for h in heads]
    for thread in threads:
        thread.start()
    until(lambda: server.descriptors() >= before + count * len(heads))
    beside = latencies(8)
    for thread in threads:
        thread.join()
    one, two = (np.percentile(found, [50, 95]) * 1000 for found in (alone, beside))
    print(f"{connections} slow connections: {len(cut)} cut, the last after {max(cut):.1f} s; a good client's "
          f"{one[0]:.0f} ms median (95th {one[1]:.0f}) alone, {two[0]:.0f} ({two[1]:.0f}) beside them")  # fmt: skip
    return len(cut) == connections and max(cut) < 30 and two[0] < 2 * one[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--crowd", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow", type=int, default=200)
    args = parser.parse_args()
    print(heading())
    with tempfile.TemporaryDirectory() as folder:
        pairs = truths(args.model, args.images, Path(folder), threads=2)
        with Running(args.model, Path(folder) / "server", "--threads", 2) as server:
            good = [
                steady(server, pairs, args.requests, args.clients),
                crowd(server, pairs, args.crowd, args.rounds),
                beside_slow_ones(server, pairs, args.slow),
                server.files() == [],
            ]
    print("as it must be" if all(good) else f"NOT as it must be: {good}")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
