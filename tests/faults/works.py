"""The six commands that are killed and starved, what they leave, and what of it may be seen at any moment."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from decaseg.storage.files import read_json
from decaseg.storage.rundir import RunDir
from tests.faults.disk import visible
from tests.faults.warm import Warm
from tests.synthetic import write_dataset

MODULES = ("decaseg.workflows.train", "decaseg.workflows.predict", "decaseg.workflows.evaluate",
           "decaseg.workflows.export", "decaseg.workflows.download", "torch._dynamo", "torch.distributed",
           "decaseg.storage.openvino_door:import_openvino", "decaseg.inference.engines.openvino_engine",
           "decaseg.inference.engines.torch_engine", "tests.faults.works")  # fmt: skip
TRAIN = ["--set", "base_filters=4", "max_levels=2", "steps_per_epoch=2", "validation_cases=0", "dropout=0.1",
         "checkpoint_minutes=0", "--patch", "8", "8", "8", "--threads", "1", "--deterministic", "--epochs", "2",
         "--device", "cpu"]  # fmt: skip
STREAMS = ("log.jsonl", "events.out.tfevents")  # grow line by line: a torn last line is passed over by their readers
OF_THE_CLOCK = re.compile(r"time|seconds.*|.*_s|provenance|created|date|command|machine|out|run")


@dataclass(frozen=True)
class Work:
    """A command that fills `folder`; `more`: what is added to its words where it is run again."""

    name: str
    words: Callable[[Path], list[str]]
    again: Callable[[Path], list[str]] = lambda folder: []
    how: Mapping[str, Any] = field(default_factory=dict)
    moves_on: tuple[str, ...] = ()  # ends of names of files of which older, whole versions may be seen

    def run(self, warm: Warm, folder: Path, said: Path, **how: Any) -> int:
        return warm.run(self.words(folder) + self.again(folder), said, **self.how, **how)

    def start(self, warm: Warm, folder: Path, said: Path, **how: Any) -> int:
        return warm.start(self.words(folder) + self.again(folder), said, **self.how, **how)

    def wrong(self, folder: Path, whole: Mapping[str, str]) -> list[str]:
        """Files with final names that are not those of the undisturbed result: there must never be one."""
        differing = [name for name, content in contents(folder).items() if whole.get(name) != content]
        return [name for name in differing if not name.endswith(self.moves_on)]


def contents(folder: Path) -> dict[str, str]:
    """Final name -> digest of what the file says, times of the clock left out; an AssertionError for half a file."""
    found = {}
    for path in visible(folder):
        name = str(path.relative_to(folder))
        if not path.name.startswith(STREAMS):
            found[name] = _digest(path)
    return found


def hidden(folder: Path) -> list[str]:
    """What lies there under hidden names besides records, locks, and entries of a cache, which may be another run's
    until they are a minute old (tests/storage/test_cache.py: they go then)."""
    paths = (str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    kept = re.compile(r"\.finished/c[^/]*|\.lock|(cache/)?\.[0-9a-f]{32}\.[0-9a-f]{8}\.tmp/.*")
    return [p for p in paths if "/." in f"/{p}" and not kept.fullmatch(p)]


def _digest(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".json":
        data = json.dumps(_timeless(read_json(path)), sort_keys=True).encode()
    elif path.suffix == ".pt":
        data = _of_checkpoint(path)
    elif path.suffix == ".md":
        assert data.endswith(b"\n"), path
        data = re.sub(rb"[0-9.]+", b"", data)
    return hashlib.sha256(data).hexdigest()[:16]


def _timeless(document: Any) -> Any:
    if isinstance(document, dict):
        return {k: _timeless(v) for k, v in document.items() if not OF_THE_CLOCK.fullmatch(str(k))}
    return [_timeless(item) for item in document] if isinstance(document, list) else document


def _of_checkpoint(path: Path) -> bytes:
    """Every bit of it but the clock's; it fails where a byte does not match its checksum."""
    import torch

    from decaseg.training.checkpoint import load_checkpoint

    state = load_checkpoint(path, path.with_name("none.pt"))
    return repr([(k, v.numpy().tobytes() if torch.is_tensor(v) else v) for k, v in _leaves(state, "")]).encode()


def _leaves(tree: Any, place: str) -> Any:
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in items:
            if not str(key).endswith("_s"):
                yield from _leaves(value, f"{place}/{key}")
    else:
        yield place, tree


def preprocess(data: str, folder: str) -> int:
    """What a training does first, by itself."""
    from decaseg.data.cases import prepare_cases
    from decaseg.planning.fingerprint import take_fingerprint
    from decaseg.planning.plan import make_plan
    from decaseg.recipes import named
    from decaseg.storage.cache import Cache
    from decaseg.storage.layouts import read_dataset
    from decaseg.workflows.plan import wishes_of

    dataset = read_dataset(Path(data))
    plan = make_plan(take_fingerprint(dataset), wishes_of(named("quick"), None))
    prepare_cases(dataset.training, plan.preprocessing, Cache(Path(folder)))
    return 0


def save(folder: str) -> int:
    """What a training does on the disk at its end, by itself: a checkpoint over another, the weights, a line of log."""
    import torch

    from decaseg.training.checkpoint import save_checkpoint, save_weights
    from decaseg.training.events import EventLog

    run = RunDir(Path(folder))
    log = EventLog(run.log)
    for step in (1, 2):
        save_checkpoint(run.checkpoint, run.previous_checkpoint, {"step": step, "w": torch.full((9,), float(step))})
        log("checkpoint", step=step)
    save_weights(run.weights, {"w": torch.full((9,), 2.0)})
    log.close()
    return 0


def take(folder: str) -> int:
    """What an export does on the disk at its end, by itself: a new bundle in place of the one that is there."""
    from decaseg.storage.bundle import BundleDir
    from decaseg.storage.files import write_json, write_text
    from decaseg.storage.output import only_writer

    bundle = BundleDir(Path(folder))
    with only_writer(bundle.root):
        bundle.drop_making()
        try:
            bundle.making.root.mkdir()
            for path in (bundle.making.model("openvino"), bundle.making.weights, bundle.making.card):
                write_text(path, "new\n")
            write_json(bundle.making.document, {"new": 1})
            bundle.take()
        finally:
            bundle.drop_making()
    return 0


@dataclass(frozen=True)
class Made:
    """Data, a RUN and a BUNDLE made without faults, and the works that go by them."""

    root: Path
    works: Mapping[str, Work]
    whole: Mapping[str, Mapping[str, str]]  # what each work leaves when nothing disturbs it
    spans_s: Mapping[str, float]
    steps: Mapping[str, int]  # operations on the disk


def works_of(root: Path, data: Path, url: str, train: list[str] | None = None, gate: bool = False) -> dict[str, Work]:
    """The works; `root/run` and `root/bundle` must be there before predict, evaluate, pictures (evaluate that
    draws) and export are run.

    `train`: other options than TRAIN; `gate`: exports go through the parity gate.
    """
    options = TRAIN if train is None else train
    gated = ["--data", str(data)] if gate else []

    def resume(folder: Path) -> list[str]:
        return ["--resume"] if (folder / "plan.json").is_file() else []

    return {
        "preprocess": Work("preprocess", lambda f: [str(data), str(f)], how={"call": "tests.faults.works:preprocess"}),
        "save": Work("save", lambda f: [str(f)], how={"call": "tests.faults.works:save"}, moves_on=(".pt",)),
        "take": Work("take", lambda f: [str(f)], how={"call": "tests.faults.works:take"}),
        "train": Work("train", lambda f: ["train", str(data), "--out", str(f), *options], resume,
                      moves_on=(".pt", "weights.safetensors")),
        "export": Work("export", lambda f: ["export", f"{root}/run", "--out", str(f), "--threads", "1", *gated]),
        "predict": Work("predict", lambda f: ["predict", f"{root}/bundle", f"{data}/imagesTr", "--out", str(f),
                                              "--threads", "1"]),
        "evaluate": Work("evaluate", lambda f: ["evaluate", f"{root}/bundle", "--data", str(data), "--out", str(f),
                                                "--threads", "1", "--no-pictures"]),
        "pictures": Work("pictures", lambda f: ["evaluate", f"{root}/bundle", "--data", str(data), "--out", str(f),
                                                "--threads", "1", "--animations", "none"]),
        "download": Work("download", lambda f: ["download", "4", "--root", str(f), "--url", url]),
    }  # fmt: skip


def tiny_data(folder: Path) -> Path:
    return write_dataset(folder, cases=2, shape=(12, 14, 10))


def make(warm: Warm, root: Path, works: Mapping[str, Work]) -> Made:
    """Runs each work undisturbed twice: to have its modules imported and its result, then to measure it."""
    import shutil
    import time

    whole, spans, steps = {}, {}, {}
    for name, work in works.items():
        said = root / f"{name}.txt"
        first, second = root / f"{name}-first", root / f"{name}-whole"
        code = warm.learn(work.words(first), said, **work.how)
        assert code == 0, said.read_text()
        begun = time.monotonic()
        code = work.run(warm, second, said, disk={"under": str(second)}, counted=str(root / f"{name}.steps"))
        spans[name] = time.monotonic() - begun
        assert code == 0, said.read_text()
        whole[name] = contents(second)
        assert whole[name] == contents(first) and whole[name], name
        steps[name] = len(read_json(root / f"{name}.steps"))
        shutil.rmtree(first)
        if name in ("train", "export"):
            shutil.copytree(second, root / {"train": "run", "export": "bundle"}[name])
    return Made(root, works, whole, spans, steps)
