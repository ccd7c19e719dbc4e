"""A training step of nnU-Net's own plans, and training with loader and augmentation: decaseg beside its peers.

    .venv-peers/bin/python benchmarks/step-speed/against_peers.py hippocampus --data ../shared/data
    .venv-peers/bin/python benchmarks/step-speed/against_peers.py brain --batch 1 --data ../shared/data

Run with the environment that `benchmarks/peers/setup.sh` makes. Each contestant has a process of its own, which gets
ready (imports, builds, fills its loader's queues) and then waits; in a round they work in turn, one at a time, while
the others sleep. Ratios are taken round by round. `step` rows train on one batch again and again; `loop` rows take
each batch from the contestant's own loader with its own augmentation.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peer_data import environment, prepare
from settings import SETTINGS, Setting, gflop_a_step

HERE = Path(__file__).resolve().parent
KEEPS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1)}
VARIANTS = {
    "cpu": (
        "nnunet trainer",
        "plain fp32",
        "monai fp32",
        "monai fp32 channels-last",
        "monai fp32, memory kept",
        "monai fp32 channels-last, memory kept",
        "monai bf16 channels-last, memory kept",
        "decaseg fp32",
        "decaseg bf16",
        "decaseg train",
    ),
    "cuda": (
        "nnunet trainer",  # compiled, fp16 autocast: its own default
        "plain bf16",
        "monai bf16",
        "monai bf16 channels-last",
        "monai bf16 compiled",
        "monai bf16 channels-last compiled",
        "decaseg bf16",
        "decaseg bf16 compiled",
        "decaseg train",
    ),
}
COLUMNS = (
    "contestant", "parameters", "median s", "min to max s",
    "images/s", "GFLOP/s", "of peak fp32, bf16", "times nnU-Net",
)  # fmt: skip
KINDS = {"step": "one batch again and again", "loop": "own loader and augmentation"}


@dataclass
class Row:
    """One contestant at one kind of work: seconds a step, a list a round."""

    variant: str
    kind: str
    parameters: int = 0
    rounds: list[list[float]] = field(default_factory=list)

    @property
    def all_s(self) -> list[float]:
        return [s for times in self.rounds for s in times]

    @property
    def median_s(self) -> float:
        return statistics.median(self.all_s)


@contextmanager
def locked(path: Path | None, kind: int = fcntl.LOCK_EX):
    """Holds the lock of a file, alone or with others that share it, as flock(1) does; nothing without a file."""
    if path is None:
        yield
        return
    with path.open("a") as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for {path}", file=sys.stderr, flush=True)
            fcntl.flock(file, kind)
        yield


class Contestant:
    """A process that is started, gets ready, and works when told to."""

    def __init__(self, variant: str, order: dict[str, Any], work: Path) -> None:
        self.variant = variant
        env = environment(work) | (KEEPS_MEMORY if "memory kept" in variant else {})
        command = [sys.executable, str(HERE / "contestants.py"), json.dumps(order | {"variant": variant})]
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed in stop()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=env
        )

    def read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise SystemExit(f"{self.variant} failed:\n{self.errors.read()[-3000:]}")
        return line

    def work(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        result = json.loads(self.read())
        self.process.wait()
        return result

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
        self.errors.close()


def play_round(variants: list[str], order: dict[str, Any], arguments: argparse.Namespace, rows: dict) -> None:
    """All contestants get ready, then work in turn under the lock, which is let go after `--hold` seconds."""
    contestants: list[Contestant] = []
    waiting = list(variants)
    try:
        with locked(arguments.lock, fcntl.LOCK_SH):
            for variant in variants:
                contestant = Contestant(variant, order, arguments.work)
                contestants.append(contestant)
                contestant.read()  # one after the other: getting ready is work too
        while waiting:
            with locked(arguments.lock):
                started = time.perf_counter()
                while waiting and time.perf_counter() - started < arguments.hold:
                    contestant = contestants[len(variants) - len(waiting)]
                    result = contestant.work()
                    waiting.pop(0)
                    for kind in KINDS:
                        if kind in result:
                            row = rows.setdefault((contestant.variant, kind), Row(contestant.variant, kind))
                            row.parameters = result["parameters"]
                            row.rounds.append(result[kind])
                            times = ", ".join(f"{s:.2f}" for s in result[kind])
                            print(f"  {contestant.variant} ({kind}): {times} s", file=sys.stderr, flush=True)
    finally:
        for contestant in contestants:
            contestant.stop()


def ratios(slower: Row, faster: Row) -> list[float]:
    """How many times faster, round by round, sorted; of a round that was broken off, what both did."""
    pairs = zip(slower.rounds, faster.rounds, strict=False)
    return sorted(statistics.median(s) / statistics.median(f) for s, f in pairs)


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({values[0]:.2f} to {values[-1]:.2f})"


def table(rows: list[Row], setting: Setting, gflop: float, top: dict[str, float]) -> str:
    lines = []
    for kind, words in KINDS.items():
        these = [row for row in rows if row.kind == kind]
        first = next((row for row in these if row.variant.startswith("nnunet")), None)
        lines += [
            f"{kind}: {words}", "",
            f"| {' | '.join(COLUMNS)} |",
            "|" + " --- |" * len(COLUMNS),
        ]  # fmt: skip
        for row in these:
            median_s, rate = row.median_s, gflop / row.median_s
            cells = (
                row.variant,
                f"{row.parameters:,}",
                f"{median_s:.2f}",
                f"{min(row.all_s):.2f} to {max(row.all_s):.2f}",
                f"{setting.batch / median_s:.3f}",
                f"{rate:.0f}",
                f"{rate / top['fp32']:.0%}, {rate / top['bf16']:.0%}",
                spread(ratios(first, row)) if first else "",
            )
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def headlines(rows: list[Row]) -> list[str]:
    """The ratios the goals are about."""
    by_kind = {kind: [row for row in rows if row.kind == kind] for kind in KINDS}
    said = []
    for kind, words in KINDS.items():
        ours = [row for row in by_kind[kind] if row.variant.startswith("decaseg")]
        for name in ("nnunet", "monai", "plain"):
            theirs = [row for row in by_kind[kind] if row.variant.startswith(name)]
            if ours and theirs:
                best, rival = (min(group, key=lambda row: row.median_s) for group in (ours, theirs))
                times = spread(ratios(rival, best))
                said.append(f"{kind} ({words}): {best.variant} is {times} times as fast as {rival.variant}")
    return said


def facts(arguments: argparse.Namespace) -> dict[str, Any]:
    import torch

    from decaseg.nets.device import choose_precision

    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    found = {key: re.search(rf"^{key}\s*: (.*)$", cpuinfo, re.M) for key in ("model name", "model", "flags")}
    words = {key: match.group(1) if match else "?" for key, match in found.items()}
    flags = [f for f in ("avx512f", "avx512_bf16", "amx_bf16") if f in words["flags"].split()]
    commit = subprocess.run(["git", "-C", HERE, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    changed = subprocess.run(
        ["git", "-C", HERE, "status", "--porcelain", "--", "../../src"], capture_output=True, text=True
    )
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit.stdout.strip() + (" and changes to src" if changed.stdout.strip() else ""),
        "machine": f"{platform.machine()}, {words['model name']} (model {words['model']}), {' '.join(flags)}",
        "gpu": torch.cuda.get_device_name() if arguments.device == "cuda" else None,
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "nnunetv2", "monai")},
        "auto precision": choose_precision("auto", torch.device(arguments.device)),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder that holds the Decathlon tasks"
    )
    parser.add_argument("--work", type=Path, default=Path("build/peers"), help="folder for prepared cases; kept")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="steps a round on one batch")
    parser.add_argument("--loop-steps", type=int, default=3, help="steps a round with the loader")
    parser.add_argument("--warm-up", type=int, default=1, help="steps before them that are not counted")
    parser.add_argument("--batch", type=int, help="instead of the plan's, for everyone")
    parser.add_argument("--device", choices=VARIANTS, default="cpu")
    parser.add_argument("--variants", help="only contestants whose names match this pattern, such as 'nnunet|decaseg'")
    parser.add_argument(
        "--also", action="append", default=[], help="one more contestant, such as 'monai fp32 compiled'"
    )
    parser.add_argument("--lock", type=Path, help="file to lock while timing, for a machine that is shared")
    parser.add_argument("--hold", type=float, default=120.0, help="seconds after which the lock is let go for a moment")
    parser.add_argument("--json", type=Path, help="file for all times")
    return parser.parse_args()


def main() -> None:
    arguments = read_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that contestants are stopped with it
    setting = SETTINGS[arguments.setting].with_batch(arguments.batch)
    arguments.work = arguments.work.resolve()
    arguments.work.mkdir(parents=True, exist_ok=True)
    prepare(setting, arguments.data, arguments.work)
    variants = [v for v in VARIANTS[arguments.device] if re.search(arguments.variants or "", v)] + arguments.also
    order = {
        "setting": setting.name, "batch": setting.batch, "device": arguments.device, "work": str(arguments.work),
        "warm_up": arguments.warm_up, "steps": arguments.steps, "loop_steps": arguments.loop_steps,
    }  # fmt: skip
    with locked(arguments.lock):
        command = [sys.executable, HERE / "processor_peak.py", "--device", arguments.device]
        peaks = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    top = {precision: max(rates.values()) for precision, rates in peaks.items()}
    rows: dict[tuple[str, str], Row] = {}
    done = 0
    try:
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
            play_round(variants, order, arguments, rows)
            done += 1
    except (KeyboardInterrupt, SystemExit) as broken:
        if not rows:
            raise
        print(f"broken off after {done} whole rounds; what there is follows. {broken}", file=sys.stderr)
    gflop = gflop_a_step(setting)
    about = facts(arguments)
    for key, value in about.items():
        print(f"{key}: {value}")
    print(f"n = {done} rounds of {arguments.steps} steps and {arguments.loop_steps} with loader; "
          f"batch {setting.batch} of {'x'.join(map(str, setting.patch))} x {setting.in_channels}")  # fmt: skip
    print(f"{gflop:.0f} GFLOP of convolutions a step; peak seen: "
          + ", ".join(f"{p} {top[p]:.0f} GFLOP/s ({max(r, key=r.get)})" for p, r in peaks.items()))  # fmt: skip
    print()
    print(table(list(rows.values()), setting, gflop, top))
    print("\n".join(headlines(list(rows.values()))))
    if arguments.json:
        document = about | {"gflop": gflop, "peaks": peaks, "rows": [vars(row) for row in rows.values()]}
        arguments.json.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
