"""Mutated NIfTI, gzip, JSON and tar inputs through decaseg's loaders and commands, beside the peers' loaders.

    python benchmarks/malformed/run.py --count 20000 --seed 0 --data ../shared/data

Of `--count` inputs 7 in 10 are NIfTI (through nifti.read, `decaseg check`, every 50th `decaseg predict`, and the
peers), 2 in 10 JSON (dataset.json, splits, recipe and plan; `check`), 1 in 10 tar (unpacking). Mutant i of seed s is
the same everywhere: `--only i` shows one. `--data` adds real files to mutate; without it only generated ones are.

Workers are processes: one that dies or says nothing for two minutes is noted with its input and started anew behind
it; their address space may grow by 2 GiB. Exit code 1 where decaseg failed on an input.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
GIB = 1 << 30
MOST_GIB, MOST_S, SILENCE_S = 2, 10.0, 120.0
PREDICT_EVERY = 50
TINY = ["--set", "base_filters=4", "max_levels=2", "steps_per_epoch=2", "epochs=1", "validation_cases=0"]
TINY += ["average_decay=none", "--patch", "8", "8", "8", "--batch-size", "2", "--threads", "1", "--device", "cpu"]


def kind_of_input(index: int) -> str:
    """7 in 10 NIfTI, 2 JSON, 1 tar."""
    return "nifti" if index % 10 < 7 else "json" if index % 10 < 9 else "tar"


def prepare(folder: Path) -> None:
    """A data set of three small cases, and a RUN trained on it for two steps."""
    from tests.synthetic import write_dataset

    from decaseg.cli import call

    if (folder / "run" / "weights.safetensors").exists():
        return
    data = write_dataset(folder / "data", cases=2, shape=(12, 14, 10))
    assert call(["train", str(data), "--out", str(folder / "run"), *TINY]) == 0


def base_files(folder: Path, real: Path | None) -> list[bytes]:
    """Plain bytes of .nii files to mutate: first the data set's own, then generated and real ones of many sorts."""
    from tests.mutants.geometry import inflated
    from tests.tasks import TASKS, write_task

    found = [folder / "data" / "imagesTr" / "case_001.nii.gz"]
    if not (folder / "tasks").exists():
        for name in ("Task01_BrainTumour", "Task04_Hippocampus", "Task05_Prostate", "Task09_Spleen"):
            write_task(folder / "tasks", TASKS[name], cases=2)
    found += sorted((folder / "tasks").glob("*/*Tr/*.nii.gz"))
    if real is not None:
        found += sorted(real.glob("Task04_Hippocampus/imagesTr/*.nii.gz"))[:6]
        found += sorted(real.glob("Task04_Hippocampus/labelsTr/*.nii.gz"))[:2]
        found += [path for path in sorted(real.glob("bad_inputs/*/*.nii.gz")) if path.stat().st_size < 200_000]
    return [inflated(path.read_bytes()) or b"" for path in found]


class Inputs:
    """Mutant i of a seed: its sort, what was done to it, and its bytes; whether `peers` are to read them too."""

    def __init__(self, folder: Path, real: Path | None, seed: int, peers: bool = True) -> None:
        self.bases, self.seed, self.peers = base_files(folder, real), seed, peers
        dataset = json.loads((folder / "data" / "dataset.json").read_text())
        run = folder / "run"
        self.documents = [dataset, dataset, *(json.loads((run / f"{n}.json").read_text())
                                              for n in ("splits", "recipe", "plan"))]  # fmt: skip
        self.files = {"T/dataset.json": json.dumps(dataset).encode(), "T/imagesTr/a.nii.gz": self.bases[0][:700]}

    def __call__(self, index: int) -> tuple[str, str, bytes]:
        import numpy as np
        from tests.mutants import documents, nifti

        rng, sort = np.random.default_rng([self.seed, index]), kind_of_input(index)
        if sort == "nifti":
            own = rng.random() < 0.5
            base = self.bases[0 if own else int(rng.integers(0, len(self.bases)))]
            return sort, *nifti.mutant(base, rng)
        if sort == "json":
            return sort, *documents.json_mutant(self.documents[int(rng.integers(0, len(self.documents)))], rng)
        return sort, *documents.tar_mutant(self.files, rng)


def load_libraries() -> None:
    """Before the workers are forked, so that none has to do it again."""
    import SimpleITK  # noqa: F401
    import surfaces  # noqa: F401
    import torch
    from monai.transforms import LoadImage  # noqa: F401

    import decaseg.workflows.check
    import decaseg.workflows.predict  # noqa: F401

    torch.set_num_threads(1)


def work(folder: Path, inputs: Inputs, first: int, stop: int, step: int) -> None:
    """A worker: takes every `step`-th input through all surfaces; says on standard output what it begins and ends."""
    import surfaces

    own = folder / f"worker-{first % step}"
    shutil.rmtree(own, ignore_errors=True)  # a killed one may have left a mutant in its data set
    shutil.copytree(folder / "data", own / "data")
    os.chdir(own)
    os.environ["XDG_CACHE_HOME"] = str(own / "cache")  # where `check` remembers files: not the user's
    check, check_json = surfaces.Check(own / "data"), surfaces.CheckJson(own / "data")
    predict, unpack = surfaces.Predict(folder / "run", own / "predicted"), surfaces.Unpack(own / "unpacked")
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    limit = int(status["VmSize"].split()[0]) * 1024 + MOST_GIB * GIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for index in range(first, stop, step):
        sort, done, data = inputs(index)
        if sort == "nifti":
            path = own / ("m.nii.gz" if data[:2] == b"\x1f\x8b" or index % 3 else "m.nii")
            chosen = {"nifti.read": surfaces.loader, "check": check, "check (header)": surfaces.header_alone}
            if index % PREDICT_EVERY == 0:
                chosen["predict"] = predict
            peers = surfaces.PEERS if inputs.peers else {}
            chosen |= {name: peer for name, peer in peers.items() if index % surfaces.EVERY.get(name, 1) == 0}
        elif sort == "json":
            path = own / "dataset.json"
            chosen = {"parsers": surfaces.json_parsers, "check (json)": check_json}
        else:
            path, chosen = own / "m.tar", {"unpack": unpack}
        path.write_bytes(data)
        if index // step % 200 == 0:
            shutil.rmtree(own / "cache", ignore_errors=True)
        for name, surface in chosen.items():
            print(json.dumps({"begin": [index, name, f"{sort}: {done}"]}), flush=True)
            before, cpu = peak_mib(), time.process_time()
            word, detail = surfaces.outcome(surface, path, data, peer=name in surfaces.PEERS)
            cpu = time.process_time() - cpu
            if cpu > MOST_S:
                word, detail = "hang", f"{cpu:.1f} s of processor"
            grown = peak_mib() - before
            print(json.dumps({"end": [word, detail, round(cpu, 3), round(peak_mib() if grown > 1 else 0)]}), flush=True)
        path.unlink(missing_ok=True)


def peak_mib() -> float:
    """The most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass
class Tally:
    """What all workers said: outcomes by surface, by mutation, failures, the slowest, the largest."""

    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    mutations: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    failures: list[tuple[str, int, str, str, str]] = field(default_factory=list)
    slowest: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    peak_mib: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def done(self) -> int:
        """Inputs so far, each once."""
        return sum(self.outcomes[name].total() for name in ("nifti.read", "parsers", "unpack"))

    def note(self, begin: list, word: str, detail: str, cpu: float, peak_mib: float = 0.0) -> None:
        from surfaces import FAILURES

        index, name, done = begin
        self.outcomes[name][word] += 1
        self.slowest[name] = max(self.slowest[name], cpu)
        self.peak_mib[name] = max(self.peak_mib[name], peak_mib)
        if name == "nifti.read":
            self.mutations[done][word] += 1
        if word in FAILURES:
            self.failures.append((name, index, done, word, detail))


class Worker:
    """A forked process that takes its share; forked anew behind an input that kills it."""

    def __init__(self, work: Callable[[int, int, int], None], share: tuple[int, int, int], tally: Tally) -> None:
        self.work, (self.first, self.stop, self.step), self.tally = work, share, tally
        self.begin: list | None = None
        self.start()

    def start(self) -> None:
        self.pipe, end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.dup2(end, 1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            sys.stdout = os.fdopen(1, "w")
            try:
                self.work(self.first, self.stop, self.step)
                sys.stdout.flush()
                os._exit(0)
            except BaseException as error:
                print(json.dumps({"died": repr(error)}), flush=True)
                os._exit(1)
        os.close(end)
        os.set_blocking(self.pipe, False)
        self.heard, self.buffer, self.status = time.monotonic(), b"", None

    def listen(self) -> bool:
        """Reads what there is; False once its share is done."""
        try:
            data = os.read(self.pipe, 1 << 20)
        except BlockingIOError:
            data = None
        if data:
            self.heard = time.monotonic()
            *lines, self.buffer = (self.buffer + data).split(b"\n")
            for line in lines:
                self._hear(json.loads(line))
        elif data == b"":  # its end of the pipe is closed
            status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            return bool(status) and self._lost("crash", f"exit status {status}")
        elif time.monotonic() - self.heard > SILENCE_S:
            self.kill()
            return self._lost("hang", f"silent for {SILENCE_S:.0f} s")
        return True

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def _hear(self, said: dict) -> None:
        if "begin" in said:
            self.begin = said["begin"]
        elif "died" in said:
            raise RuntimeError(f"a worker died: {said['died']}")
        elif self.begin is not None:
            word, detail, cpu, peak = said["end"]
            self.tally.note(self.begin, word, detail, cpu, peak)

    def _lost(self, word: str, detail: str) -> bool:
        if self.begin is None:
            raise RuntimeError(f"a worker did nothing: {detail}; see --only {self.first}")
        self.tally.note(self.begin, word, detail, 0.0)
        self.first = self.begin[0] + self.step
        self.begin = None
        os.close(self.pipe)
        if self.first >= self.stop:
            return False
        self.start()
        return True


def campaign(work: Callable[[int, int, int], None], count: int, workers: int, until: float) -> Tally:
    """Takes inputs 0 to `count` through everything, shared by `workers`, until the clock says `until`."""
    tally = Tally()
    team = [Worker(work, (number, count, workers), tally) for number in range(workers)]
    told = time.monotonic()
    while team:
        time.sleep(0.05)
        if time.monotonic() - told > 60:
            told = time.monotonic()
            print(f"{tally.done:,} of {count:,}, {len(tally.failures)} failures", file=sys.stderr, flush=True)
        team = [worker for worker in team if worker.listen()]
        if time.monotonic() > until:
            for worker in team:
                worker.kill()
            break
    return tally


def rows(tally: Tally) -> Iterator[str]:
    """The table: a line a surface."""
    from surfaces import FAILURES

    yield "| surface | inputs | taken | refused or named | failures | slowest, s of processor | largest process, MiB |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, counts in tally.outcomes.items():
        bad = ", ".join(f"{counts[word]} {word}" for word in FAILURES if counts[word]) or "none"
        refused = counts["refused"] + counts["problem named"]
        taken = sum(counts.values()) - refused - sum(counts[word] for word in FAILURES)
        line = f"| {name} | {sum(counts.values()):,} | {taken:,} | {refused:,} | {bad} | {tally.slowest[name]:.2f} "
        yield f"{line}| {tally.peak_mib[name]:.0f} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="folder with real data sets")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary one")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--own", action="store_true", help="leaves the peers out")
    parser.add_argument("--only", type=int, help="writes this input to ./mutant and takes it through everything")
    parser.add_argument("--minutes", type=float, default=600.0, help="ends earlier, with what was done by then")
    args = parser.parse_args()
    folder = (args.folder or Path(tempfile.mkdtemp(prefix="malformed-"))).resolve()
    real = args.data.resolve() if args.data else None
    prepare(folder)
    load_libraries()
    inputs = Inputs(folder, real, args.seed, not args.own)
    if args.only is not None:
        Path("mutant").write_bytes(inputs(args.only)[2])
        work(folder, inputs, args.only, args.only + 1, 1)
        return 0
    started = time.monotonic()
    tally = campaign(lambda *share: work(folder, inputs, *share), args.count, args.workers, started + 60 * args.minutes)
    print(*rows(tally), sep="\n")
    print(f"\n{tally.done:,} inputs of seed {args.seed} in {(time.monotonic() - started) / 60:.1f} min")  # fmt: skip
    for done, counts in sorted(tally.mutations.items()):
        print(f"  {done}: {', '.join(f'{n} {word}' for word, n in counts.most_common())}")
    from surfaces import PEERS

    own = [failure for failure in tally.failures if failure[0] not in PEERS]
    for name, index, done, word, detail in own[:60]:
        print(f"  failed: {name} on {index} ({done}): {word}: {detail}")
    return 1 if own else 0


if __name__ == "__main__":
    sys.exit(main())
