"""decaseg's commands killed, starved and frozen, many times over: the full size of what tests/faults does in small.

    python benchmarks/faults/campaign.py kills --count 200 --seed 0
    python benchmarks/faults/campaign.py disks --count 25 --seed 0
    python benchmarks/faults/campaign.py memory --count 25 --seed 0
    python benchmarks/faults/campaign.py processes --count 40 --seed 0
    python benchmarks/faults/campaign.py torchrun --count 2
    python benchmarks/faults/campaign.py sharing --count 50 --seed 0

Real commands, in processes forked from one that has imported torch and OpenVINO. A row of Markdown for each kind; exit
code 1 where anything went otherwise than it must. `--only NAME` for one of the commands.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from refused import memory  # noqa: E402
from tally import Tally  # noqa: E402
from tests.faults.ranks import LAUNCHER  # noqa: E402
from tests.faults.trials import failed, fresh, killed, mounted, rerun, spoken, sweep, unmounted  # noqa: E402
from tests.faults.warm import Warm  # noqa: E402
from tests.faults.works import MODULES, TRAIN, Made, make, tiny_data, works_of  # noqa: E402
from tests.storage.web_server import serving  # noqa: E402
from tests.workflows.test_download import archive_of  # noqa: E402

from decaseg.storage.files import read_json  # noqa: E402
from decaseg.storage.provenance import processor_name  # noqa: E402
from decaseg.storage.rundir import RunDir  # noqa: E402

NAMES = ("preprocess", "train", "predict", "evaluate", "export", "download")
SHORT = (2000, 3000, 5000, 8000, 12_000, 20_000, 30_000, 40_000, 70_000, 120_000, 200_000)  # bytes a file
LONG = [*TRAIN, "--batch-size", "2", "--precision", "fp32", "--epochs", "1000000"]


@contextmanager
def prepared(folder: Path) -> Iterator[tuple[Made, Warm]]:
    with Warm(*MODULES) as warm, serving(archive_of(folder / "archive", cases=1)) as site:
        yield make(warm, folder, works_of(folder, tiny_data(folder / "data"), site.url, gate=True)), warm


def kills(made: Made, warm: Warm, folder: Path, told: argparse.Namespace) -> Iterator[Tally]:
    """SIGKILL at random; a training up to four times in a row before it is let through."""
    for name in told.only or NAMES:
        draw, tally, out = random.Random(told.seed), Tally(f"kill -9 during {name}"), folder / "out" / name
        out.parent.mkdir(exist_ok=True)
        number = 0
        while tally.came["killed"] < told.count and number < 4 * told.count:
            found = killed(made, warm, name, out, draw, by_clock=number % 2 == 1)
            wrong = found.wrong
            if name != "train" or number % 4 == 3:
                wrong = wrong + rerun(made, warm, name, out).wrong
                fresh(out)
            tally.add("killed" if found.code == -signal.SIGKILL else "done before it was killed", wrong)
            number += 1
        if out.exists():
            tally.wrong += rerun(made, warm, name, out).wrong
        yield tally


def disks(made: Made, warm: Warm, folder: Path, told: argparse.Namespace) -> Iterator[Tally]:
    """Every n-th operation; disks that stay full from a random operation on; real small disks; limits."""
    for name in told.only or NAMES[:-1]:
        place = folder / "out" / name
        place.parent.mkdir(exist_ok=True)
        tally = Tally(f"{name}: the n-th operation fails, every {told.stride}. n from {told.first}")
        if name == "export":  # a process each: OpenVINO counts the names it gives to nodes
            for number in range(told.first, made.steps[name] + 1, told.stride):
                found = failed(made, warm, name, fresh(place), number)
                tally.add(f"exit {found.code}", found.wrong + rerun(made, warm, name, place).wrong, found.seconds)
        else:
            outcomes = sweep(made, warm, name, place, again=True, stride=told.stride, first=told.first)
            for number, what, code, wrong in outcomes:
                tally.add(f"exit {code}", [f"{number} ({what}): {one}" for one in wrong])
        yield tally
        if told.count == 0:
            continue
        draw, tally = random.Random(told.seed), Tally(f"{name}: full from a random operation on")
        for _ in range(told.count):
            at = draw.randint(1, made.steps[name])
            found = failed(made, warm, name, fresh(place), at, lasting=True)
            tally.add(f"exit {found.code}", [f"{at}: {one}" for one in found.wrong], found.seconds)
        yield tally
        fresh(place)
        yield small_disks(made, warm, folder, told, name)
        yield limits(made, warm, folder, name)


def small_disks(made: Made, warm: Warm, folder: Path, told: argparse.Namespace, name: str) -> Tally:
    draw, tally, disk = random.Random(told.seed), Tally(f"{name}: on a tmpfs too small, or read-only"), folder / "disk"
    size = sum(p.stat().st_size for p in (folder / f"{name}-whole").rglob("*") if p.is_file()) // 1024
    for number in range(told.count):
        if not mounted(disk, max(4, int(size * draw.uniform(0.02, 1.6)))):
            raise SystemExit("needs the right to mount a tmpfs")
        if number % 8 == 7:
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        begun, said = time.monotonic(), folder / "said.txt"
        code, seconds = made.works[name].run(warm, disk / "out", said), time.monotonic() - begun
        text = said.read_text()
        wrong = [] if name == "preprocess" else spoken(code, text)
        if (disk / "out").exists():
            wrong += [f"half: {one}" for one in made.works[name].wrong(disk / "out", made.whole[name])]
        tally.add(f"exit {code}", wrong, seconds)
        unmounted(disk)
    return tally


def limits(made: Made, warm: Warm, folder: Path, name: str) -> Tally:
    """ulimit -n and -f, and a /dev/shm of 4 KiB."""
    tally, said, out = (
        Tally(f"{name}: ulimit -n 7 to 19, -f 2 to 200 KB, /dev/shm of 4 KiB"),
        folder / "said.txt",
        folder / "out" / name,
    )
    few = [{"limits": {"RLIMIT_NOFILE": n}} for n in range(7, 20)]
    short = [{"limits": {"RLIMIT_FSIZE": n}} for n in SHORT]
    for how in (*few, *short, {"shm_kib": 4}):
        code = made.works[name].run(warm, fresh(out), said, **how)
        wrong = [] if name == "preprocess" and code == 1 else spoken(code, said.read_text())
        if out.exists():
            wrong += [f"half: {one}" for one in made.works[name].wrong(out, made.whole[name])]
        wrong += rerun(made, warm, name, out).wrong
        tally.add(f"exit {code}", [f"{how}: {one}" for one in wrong])
    return tally


def processes(made: Made, warm: Warm, folder: Path, told: argparse.Namespace) -> Iterator[Tally]:
    """Two ranks; one is killed or frozen, or gets SIGTERM, or what started them is killed or gets SIGTERM."""
    draw = random.Random(told.seed)
    kinds: dict[str, Callable[[int, list[int]], None]] = {
        "a rank is killed": lambda launcher, ranks: os.kill(draw.choice(ranks), signal.SIGKILL),
        "a rank is frozen (noticed after 5 s instead of 45)": lambda launcher, ranks: os.kill(
            draw.choice(ranks), signal.SIGSTOP),
        "SIGTERM to a rank": lambda launcher, ranks: os.kill(draw.choice(ranks), signal.SIGTERM),
        "the launcher is killed": lambda launcher, ranks: os.kill(launcher, signal.SIGKILL),
    }  # fmt: skip
    for kind, do in kinds.items():
        tally = Tally(f"two ranks: {kind}")
        for number in range(max(1, told.count // len(kinds))):
            tally.add(*one_of_two_ranks(made, warm, folder, number, draw, kind, do))
        yield tally


def one_of_two_ranks(
    made: Made, warm: Warm, folder: Path, number: int, draw: random.Random, kind: str,
    do: Callable[[int, list[int]], None],
) -> tuple[str, list[str], float]:  # fmt: skip
    from decaseg.training.checkpoint import load_checkpoint

    run, said, pids = RunDir(folder / f"run-{number}"), folder / "said.txt", folder / "pids"
    pids.unlink(missing_ok=True)
    fresh(run.root)
    words = ["train", f"{folder}/data", "--out", str(run.root), *LONG]
    patch = {"decaseg.training.heartbeat:SILENCE_S": 5.0, "decaseg.training.heartbeat:BEAT_S": 0.5}
    launcher = warm.start([str(pids), "2", *words], said, call=LAUNCHER, patch=patch if "frozen" in kind else {})
    until(pids.exists, 120)
    ranks = [int(word) for word in pids.read_text().split()]
    until(lambda: any(e["event"] == "epoch" for e in run.events()) or not alive(ranks), 120)
    time.sleep(draw.uniform(0, 1))
    begun = time.monotonic()
    do(launcher, ranks)
    ended = until(lambda: not alive(ranks), 120)
    seconds = time.monotonic() - begun
    wrong = [] if ended else [f"still there after {seconds:.0f} s"]
    for process in alive(ranks):
        os.kill(process, signal.SIGKILL)
    warm.wait(launcher)
    text, stops = said.read_text(), [e["step"] for e in run.events() if e["event"] == "stop"]
    step = load_checkpoint(run.checkpoint, run.previous_checkpoint)["step"]
    if ("SIGTERM" in kind or "launcher" in kind) and stops[-1:] != [step]:
        wrong.append(f"stopped at {stops}, saved at {step}: {text[-300:]}")
    if ("rank is killed" in kind or "frozen" in kind) and "--resume" not in text:
        wrong.append(f"nothing was said: {text[-300:]}")
    shutil.rmtree(run.root)
    return ("saved at the step it stopped at" if stops else "an error that says --resume"), wrong, seconds


def torchrun(made: Made, warm: Warm, folder: Path, told: argparse.Namespace) -> Iterator[Tally]:
    """`torchrun` itself, with the times as they are: a rank is frozen, torchrun gets SIGKILL or SIGTERM."""
    kinds: dict[str, Callable[[int, list[int]], None]] = {
        "a rank is frozen": lambda launcher, ranks: os.kill(ranks[-1], signal.SIGSTOP),
        "torchrun is killed": lambda launcher, ranks: os.kill(launcher, signal.SIGKILL),
        "SIGTERM to torchrun": lambda launcher, ranks: os.kill(launcher, signal.SIGTERM),
    }
    for kind, do in kinds.items():
        tally = Tally(f"torchrun, two ranks: {kind}")
        for number in range(told.count):
            tally.add(*one_torchrun(folder / f"torchrun-{number}", folder / "data", do))
        yield tally


def one_torchrun(root: Path, data: Path, do: Callable[[int, list[int]], None]) -> tuple[str, list[str], float]:
    from decaseg.training.checkpoint import load_checkpoint

    run = RunDir(fresh(root))
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "decaseg",
             "train", str(data), "--out", str(run.root), *LONG]  # fmt: skip
    with Path(f"{root}.txt").open("wb") as said:
        process = subprocess.Popen(words, stdout=said, stderr=said, env=os.environ | {"OMP_NUM_THREADS": "1"})
    until(lambda: any(e["event"] == "epoch" for e in run.events()) or process.poll() is not None, 300)
    ranks = [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    begun = time.monotonic()
    do(process.pid, ranks)
    ended = until(lambda: not alive(ranks), 120)
    seconds = time.monotonic() - begun
    process.wait(60)
    wrong = [] if ended and ranks else [f"{alive(ranks)} of {ranks} still there after {seconds:.0f} s"]
    stops, text = [e["step"] for e in run.events() if e["event"] == "stop"], Path(f"{root}.txt").read_text()
    step = load_checkpoint(run.checkpoint, run.previous_checkpoint)["step"]
    if stops[-1:] != [step] and "--resume" not in text:
        wrong.append(f"{stops}, saved at {step}: {text[-500:]}")
    return (
        ("saved at the step it stopped at" if stops[-1:] == [step] else "an error that says --resume"),
        wrong,
        seconds,
    )


def sharing(made: Made, warm: Warm, folder: Path, told: argparse.Namespace) -> Iterator[Tally]:
    """Two at once."""
    rounds = max(1, told.count // 5)
    tally, run, said = Tally("a second training in a RUN"), RunDir(folder / "taken"), folder / "said.txt"
    words = ["train", f"{folder}/data", "--out", str(run.root), *TRAIN]
    first = warm.start([*words, "--epochs", "1000000"], folder / "first.txt")
    until(lambda: any(e["event"] == "epoch" for e in run.events()), 120)
    for number in range(rounds):
        begun = time.monotonic()
        code = warm.run([*words, *(["--resume"] if number % 2 else [])], said)
        wrong = [] if code == 2 and "another process is training there" in said.read_text() else [said.read_text()]
        tally.add(f"exit {code}", wrong, time.monotonic() - begun)
    os.kill(first, signal.SIGKILL)
    warm.wait(first)
    code = warm.run([*words, "--resume"], said)
    came = "resumed where the lock was of a killed one" if code == 0 else f"exit {code}"
    tally.add(came, [] if code == 0 else [said.read_text()])
    yield tally
    tally = Tally("two trainings start at once in a new RUN")
    for number in range(rounds):
        run = RunDir(folder / f"pair-{number}")
        words = ["train", f"{folder}/data", "--out", str(run.root), *TRAIN, "--seed"]
        pair = [warm.start([*words, str(seed)], folder / f"{seed}.txt") for seed in (1, 2)]
        codes = [warm.wait(child) for child in pair]
        right = sorted(codes) == [0, 2] and read_json(run.recipe)["seed"] == codes.index(0) + 1
        tally.add("one trained what its RUN says, one was refused", [] if right else [f"{codes}"])
        shutil.rmtree(run.root)
    yield tally
    for name in ("preprocess", "predict", "evaluate", "export"):
        tally, out = Tally(f"two of {name} on one folder"), folder / "out" / name
        out.parent.mkdir(exist_ok=True)
        for _ in range(rounds):
            work = made.works[name]
            pair = [work.start(warm, fresh(out), folder / "0.txt"), work.start(warm, out, folder / "1.txt")]
            codes = sorted(warm.wait(child) for child in pair)
            again = rerun(made, warm, name, out)
            right = codes == [0, 0] or (codes == [0, 2] and name in ("evaluate", "export"))
            tally.add(f"exit {codes[0]} and {codes[1]}", again.wrong + ([] if right else [f"{codes}"]))
        yield tally


def alive(processes: list[int]) -> list[int]:
    from tests.faults.test_processes import alive

    return alive(processes)


def until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


CAMPAIGNS = {"kills": kills, "disks": disks, "memory": memory, "processes": processes, "torchrun": torchrun,
             "sharing": sharing}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=CAMPAIGNS)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=NAMES)
    parser.add_argument("--stride", type=int, default=1, help="disks: fail every so many-th operation only")
    parser.add_argument("--first", type=int, default=1, help="disks: and begin with this one; --count 0: nothing else")
    parser.add_argument("--folder", type=Path, help="where it works; default: a temporary folder")
    told = parser.parse_args()
    done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True)
    print(f"{processor_name()}, {os.cpu_count()} cores, {done.stdout.strip()}, seed {told.seed}", flush=True)
    wrong = 0
    with tempfile.TemporaryDirectory(dir=told.folder) as name, prepared(Path(name)) as (made, warm):
        for tally in CAMPAIGNS[told.what](made, warm, Path(name), told):
            print(tally, flush=True)
            wrong += len(tally.wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
