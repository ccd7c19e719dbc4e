"""One fault at a time: what is done to a command, and all that is wrong with what comes of it. Nothing wrong: []."""

from __future__ import annotations

import importlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decaseg.arguments import one_line
from tests.faults.disk import Disk
from tests.faults.warm import Warm
from tests.faults.works import Made, Work, contents, hidden


@dataclass(frozen=True)
class Trial:
    """What came of it: the exit code, what was said, and what is wrong in words."""

    code: int
    said: str
    wrong: list[str]
    seconds: float = 0.0


def killed(made: Made, warm: Warm, name: str, folder: Path, draw: random.Random, by_clock: bool) -> Trial:
    """SIGKILL at a random moment of the clock, or at a random operation of the disk; no rerun yet."""
    work, said = made.works[name], folder.parent / "said.txt"
    if by_clock:
        child = work.start(warm, folder, said)
        time.sleep(draw.uniform(0, made.spans_s[name]))
        os.kill(child, signal.SIGKILL)  # it is not waited for yet, so its number is nobody else's
        code = warm.wait(child)
    else:
        disk = {"under": str(folder), "at": draw.randint(1, made.steps[name]),
                "how": draw.choice(["kill before", "kill after"])}  # fmt: skip
        code = work.run(warm, folder, said, disk=disk)
    return Trial(code, said.read_text(), _half(work, folder, made.whole[name], {}))


def rerun(made: Made, warm: Warm, name: str, folder: Path) -> Trial:
    """The same command again, undisturbed: it must give what one that was left alone gives, and nothing hidden."""
    work, said = made.works[name], folder.parent / "again.txt"
    code = work.run(warm, folder, said)
    text, wrong = said.read_text(), []
    if code != 0:
        wrong.append(f"the rerun ended with {code}: {text[-300:]}")
    elif contents(folder) != made.whole[name]:
        wrong.append("the rerun gave something else")
    elif left := hidden(folder):
        wrong.append(f"the rerun left {left[0]}")
    return Trial(code, text, wrong)


def failed(
    made: Made, warm: Warm, name: str, folder: Path, at: int, lasting: bool = False, old: Path | None = None
) -> Trial:
    """Operation `at` fails (`lasting`: and all after it that need room); `old` is there first, and must stay whole."""
    work, said = made.works[name], folder.parent / "said.txt"
    before: Mapping[str, str] = {}
    if old is not None:
        shutil.copytree(old, folder)
        before = contents(folder)
    begun = time.monotonic()
    code = work.run(warm, folder, said, disk={"under": str(folder), "at": at, "lasting": lasting})
    seconds, text = time.monotonic() - begun, said.read_text()
    wrong = [] if "call" in work.how and code == 1 else spoken(code, text)
    return Trial(code, text, [*wrong, *_half(work, folder, made.whole[name], before)], seconds)


def every_n(order: str) -> int:
    """In one process: the command again and again, with operation 1, 2, 3 … of the disk failing, until none is left.

    Called in a warm process's child; `order` is a file of JSON, into which the failures go: [number, what failed, code,
    what was wrong]. Each begins with `old` copied to the folder, or with nothing there.
    """
    from decaseg.cli import call

    told = json.loads(Path(order).read_text())
    folder, under = Path(told["folder"]), told["under"]
    work = Work(told["name"], lambda _: told["words"], moves_on=tuple(told["moves_on"]))
    disk = Disk(under)
    disk.install()
    found, number = [], told["first"]
    while True:
        disk.at = 0
        fresh(folder)
        before: Mapping[str, str] = {}
        if told["old"]:
            shutil.copytree(told["old"], folder)
            before = contents(folder)
        disk.at, disk.made, disk.lasting = number, [], told["lasting"]
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            try:
                code = call(told["words"]) if not told["call"] else _called(told)
            except Exception:
                code = 1
                traceback.print_exc(file=said)
        what = disk.made[number - 1] if number <= len(disk.made) else ""
        disk.at = 0
        wrong = [*spoken(code, said.getvalue()), *_half(work, folder, told["whole"], before)]
        if not what:
            wrong += [] if code == 0 and contents(folder) == told["whole"] else ["nothing failed, yet it is not done"]
        if told["again"] and what:
            with redirect_stdout(said), redirect_stderr(said):
                second = call(told["words"] + _again(told, folder)) if not told["call"] else _called(told)
            if second != 0 or contents(folder) != told["whole"] or hidden(folder):
                wrong.append(f"the rerun: {second}, {hidden(folder)}: {said.getvalue()[-300:]}")
        found.append([number, what, code, wrong])
        if not what:
            break
        number += told["stride"]
    Path(order).write_text(json.dumps(found))
    return 0


def _called(told: Mapping[str, Any]) -> int:
    """The work's own function, with an error in words as the command line has it."""
    module, name = told["call"].split(":")
    try:
        return int(getattr(importlib.import_module(module), name)(*told["words"]))
    except (OSError, ValueError) as error:
        print(one_line(error))
        return 2


def _again(told: Mapping[str, Any], folder: Path) -> list[str]:
    return ["--resume"] if told["name"] == "train" and (folder / "plan.json").is_file() else []


def sweep(
    made: Made, warm: Warm, name: str, folder: Path, below: str = "", old: Path | None = None, lasting: bool = False,
    stride: int = 1, again: bool = False, more: Sequence[str] = (), whole: Mapping[str, str] | None = None,
    first: int = 1,
) -> list[list[Any]]:  # fmt: skip
    """`every_n` of a work, operations in `folder/below` only; all of its findings."""
    work, order = made.works[name], folder.parent / "order.json"
    order.write_text(json.dumps({
        "name": name, "words": [*work.words(folder), *more], "folder": str(folder), "under": str(folder / below),
        "old": None if old is None else str(old), "whole": made.whole[name] if whole is None else whole,
        "moves_on": list(work.moves_on), "lasting": lasting, "stride": stride, "first": first, "again": again,
        "call": work.how.get("call"),
    }))  # fmt: skip
    said = folder.parent / "said.txt"
    assert warm.run([str(order)], said, call="tests.faults.trials:every_n") == 0, said.read_text()
    return json.loads(order.read_text())


def spoken(code: int, text: str) -> list[str]:
    """What is wrong with how a command took its leave: done, or refused in a line that says why."""
    if "Traceback" in text:
        return [f"a traceback, exit code {code}: {text[-700:]}"]
    if code not in (0, 2, 130) and not (code == 1 and "FAILED" in text):
        return [f"exit code {code}: {text[-300:]}"]
    last = text.strip().splitlines()[-1] if text.strip() else ""
    if code == 2 and not last.startswith("decaseg: "):
        return [f"the last line is no message: {last!r}"]
    return []


def _half(work: Work, folder: Path, whole: Mapping[str, str], before: Mapping[str, str]) -> list[str]:
    """Files with final names that are neither the new ones nor the old ones; a bundle must be all new or all old."""
    if not folder.is_dir():
        return [] if not folder.exists() else ["the folder is a file"]
    try:
        now = contents(folder)
    except (AssertionError, ValueError) as error:
        return [f"half a file: {error}"]
    wrong = [f"half: {name}" for name, content in now.items()
             if content not in (whole.get(name), before.get(name)) and not name.endswith(work.moves_on)]  # fmt: skip
    wrong += [f"gone: {name}" for name in before if name not in now and now != dict(whole)]
    if work.name in ("export", "take") and before and now not in (dict(before), dict(whole)):
        wrong.append("a bundle that is partly old and partly new")
    return wrong


def fresh(folder: Path) -> Path:
    """The same name with nothing there."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def mounted(folder: Path, kib: int) -> bool:
    """A memory file system of that size there; False where mounting is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)], capture_output=True)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def unmounted(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], check=True)
