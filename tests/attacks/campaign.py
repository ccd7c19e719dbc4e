"""Takes attack after attack through a program in a process of its own, which may not crash, hang or fill memory.

    python -m tests.attacks.campaign ROW --count 5000 --seed 1 [--peers]

An attack ends in a word: "refused" (one of the program's own errors), or what it was taken for; a `Bad` word where a
witness says that it should not have been. The process's address space may grow by 256 MiB and twice the file.
Processor time is what counts as a hang, not the clock of a machine that others use too.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
MOST_MIB = 256
MOST_S = 5.0  # of processor
SILENCE_S = 300.0
WARM = 40  # attacks before the limit: every kind has had its libraries loaded and its threads started
ROWS = {
    "nifti": "tests.attacks.niftis",
    "manifest": "tests.attacks.manifests",
    "grids": "tests.attacks.grids",
    "cache": "tests.attacks.caches",
    "models": "tests.attacks.models",
    "archives": "tests.attacks.archives",
    "metrics": "tests.attacks.edges",
    "faulty": "tests.attacks.faulty",  # fails on purpose, for the test of this module
}


class Bad(Exception):
    """What a witness says against an outcome: a word, and the details."""


@dataclass(frozen=True)
class Attack:
    """One program on one input: `run` gives a word or raises; `size` is that of the file."""

    name: str
    run: Callable[[], str]
    size: int = 0
    peer: bool = False


class Row(Protocol):
    """A row of the table: the attacks of input `index`, drawn from `rng`; `refusals` are the program's own errors."""

    refusals: tuple[type[Exception], ...]

    def __init__(self, folder: Path, peers: bool) -> None: ...

    def __call__(self, index: int, rng: np.random.Generator) -> Iterator[Attack]: ...


@dataclass
class Tally:
    """Words by program, and what went wrong."""

    words: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    bad: dict[str, list[tuple[int, str, str]]] = field(default_factory=lambda: defaultdict(list))
    peers: set[str] = field(default_factory=set)
    slowest_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    inputs: int = 0
    until: float = math.inf  # by the monotonic clock

    def own(self) -> dict[str, list[tuple[int, str, str]]]:
        """What went wrong in this project's code."""
        return {name: found for name, found in self.bad.items() if name not in self.peers}

    def note(self, said: dict[str, Any]) -> None:
        name = said["name"]
        if said["peer"]:
            self.peers.add(name)
        self.words[name][said["word"]] += 1
        self.slowest_s[name] = max(self.slowest_s[name], said["cpu_s"])
        if said["bad"]:
            self.bad[name].append((said["index"], said["word"], said["detail"]))


def campaign(row: str, count: int, seed: int, peers: bool = False, first: int = 0, minutes: float = math.inf) -> Tally:
    """Runs inputs `first` to `count` of a row; a process that dies or falls silent is noted and started anew.

    It ends after so many `minutes` by the clock, with what was done by then.
    """
    tally = Tally(until=time.monotonic() + 60 * minutes)
    while first < count and time.monotonic() < tally.until:
        first = _one_process(row, first, count, seed, peers, tally)
    return tally


def _one_process(row: str, first: int, count: int, seed: int, peers: bool, tally: Tally) -> int:
    """Returns the input to go on with."""
    words = ["-m", "tests.attacks.campaign", row, "--work", "--first", str(first), "--count", str(count)]
    words += ["--seed", str(seed), *(["--peers"] if peers else [])]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        environment["XDG_CACHE_HOME"] = folder
        with subprocess.Popen([sys.executable, *words], cwd=ROOT, env=environment, stdout=subprocess.PIPE) as child:
            try:
                begun = _listen(child, tally)
            finally:
                child.kill()
    if (child.returncode == 0 and begun is None) or time.monotonic() >= tally.until:
        return count
    if begun is None:
        raise RuntimeError(f"the process of {row} ended with {child.returncode} before its first attack")
    word = "hang" if child.returncode == -signal.SIGKILL else "crash"
    tally.note(begun | {"word": word, "bad": True, "detail": f"exit {child.returncode}", "cpu_s": 0.0})
    return int(begun["index"]) + 1


def _listen(child: subprocess.Popen[bytes], tally: Tally) -> dict[str, Any] | None:
    """Notes what the process says; returns what it was at when it ended, None where it was done."""
    assert child.stdout is not None
    begun, buffer = None, b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while selector.select(SILENCE_S):
            data = os.read(child.stdout.fileno(), MIB)
            if not data:
                child.wait()
                return begun
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                said = json.loads(line)
                if "word" in said:
                    tally.note(said)
                    begun = None
                elif "done" in said:
                    tally.inputs += 1
                    if time.monotonic() >= tally.until:
                        return None
                else:
                    begun = said
    return begun


def _work(row: str, first: int, count: int, seed: int, peers: bool) -> None:
    """What the process does."""
    folder = Path(tempfile.mkdtemp(prefix="attacks-"))
    out, errors = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(2), "w")
    for descriptor in (1, 2):  # what libraries print is nobody's business here
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, _hang)
    index = -1
    try:
        made: Row = importlib.import_module(ROWS[row]).Row(folder, peers)
        most_s = float(getattr(made, "most_s", MOST_S))
        for warm in range(getattr(made, "warm", WARM)):
            for attack in made(warm, np.random.default_rng([seed, warm])):
                _outcome(attack, made.refusals, 600.0)
        base = _address_space()
        for index in range(first, count):
            for attack in made(index, np.random.default_rng([seed, index])):
                facts = {"index": index, "name": attack.name, "peer": attack.peer}
                print(json.dumps(facts), file=out, flush=True)
                _limit(base + MOST_MIB * MIB + 2 * attack.size)
                word, bad, detail, cpu_s = _outcome(attack, made.refusals, most_s)
                _limit(1 << 62)
                facts |= {"word": word, "bad": bad, "detail": detail[:300], "cpu_s": round(cpu_s, 3)}
                print(json.dumps(facts), file=out, flush=True)
            print('{"done": 1}', file=out, flush=True)
    except BaseException:
        print(f"the campaign itself failed at input {index}", file=errors)
        traceback.print_exc(file=errors)
        errors.flush()
        os._exit(1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Hang(BaseException):
    pass


def _hang(*_: object) -> None:
    raise _Hang


def _outcome(
    attack: Attack, refusals: tuple[type[Exception], ...], most_s: float = MOST_S
) -> tuple[str, bool, str, float]:
    """Word, whether it is bad, details, seconds of processor."""
    started = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, most_s)
    try:
        found: tuple[str, bool, str] = attack.run(), False, ""
    except Bad as bad:
        found = bad.args[0], True, bad.args[1]
    except _Hang:
        found = "hang", True, f"more than {most_s} s of processor"
    except MemoryError as error:
        found = "memory", True, repr(error)
    except refusals as error:
        lines = str(error).strip().splitlines()
        found = ("refused", False, "") if len(lines) == 1 else ("bad line", True, str(error))
    except BaseException as error:
        text = f"{type(error).__name__}: {error}"
        memory = "alloc" in text or "memory" in text
        found = ("memory", True, text) if memory else ("refused", False, text) if attack.peer else ("crash", True, text)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return *found, time.process_time() - started


def _address_space() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmSize"))


def _limit(most: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("row", choices=list(ROWS))
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="input to begin with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--minutes", type=float, default=math.inf, help="ends earlier, with what was done by then")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        _work(args.row, args.first, args.count, args.seed, args.peers)
        return 0
    started = time.monotonic()
    tally = campaign(args.row, args.count, args.seed, args.peers, args.first, args.minutes)
    print("| program | attacks | outcome | failures | longest, s of processor |\n| --- | --- | --- | --- | --- |")
    for name, words in tally.words.items():
        wrong = Counter(word for _, word, _ in tally.bad[name])
        fine = ", ".join(f"{n:,} {word}" for word, n in sorted((words - wrong).items()))
        bad = ", ".join(f"{n:,} {word}" for word, n in sorted(wrong.items())) or "none"
        print(f"| {name} | {words.total():,} | {fine} | {bad} | {tally.slowest_s[name]:.2f} |")
    print(f"\n{tally.inputs:,} inputs, seed {args.seed}, {(time.monotonic() - started) / 60:.1f} min")
    for name, found in tally.bad.items():
        for index, word, detail in found[: 10 if name in tally.peers else 50]:
            print(f"  {name}, input {index}: {word}: {detail}")
    return 1 if any(tally.own().values()) else 0


if __name__ == "__main__":
    from tests.attacks import campaign as module  # not __main__: the rows' Bad must be this one's

    sys.exit(module.main())
