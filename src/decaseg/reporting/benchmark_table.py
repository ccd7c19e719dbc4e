"""A benchmark as tables in the terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import IO, Any

TOP_LAYERS = 15
NOISE_IN_NAMES = re.compile(r"^__module\.|/(aten|prim|quantized)::.*$")  # what OpenVINO's names say besides the place


def print_benchmark(document: Mapping[str, Any], file: IO[str] | None = None) -> None:
    """Prints a benchmark.json document: machine, times, comparison with the first model, layers, conclusions.

    `file` is standard output where it is None. Where that is no terminal the tables are 80 columns wide and plain.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(file=file, highlight=False)
    machine, settings, models = document["machine"], document["settings"], document["models"]
    threads = settings["threads"] or "all"
    has = ", ".join(machine["instructions"]) or "no vector instructions known"
    how = f"{settings['rounds']} rounds, order rotated, after {settings['warm_up']}"
    for line in (
        f"{machine['processor']}, {machine['cores']} cores, {threads} used; {has}",
        f"decaseg {document['versions']['decaseg']}, commit {document['commit'] or 'unknown'}",
        f"{settings['case']}; {how}",
    ):
        console.print(Text(line))
    console.print(_times(models))
    if len(models) > 1:
        console.print(_comparison(models))
    if models[0]["dice"]:
        console.print(_dice(models))
    for model in models:
        if model["per_layer"]:
            console.print(_layers(model))
    for sentence in document["conclusions"]:
        console.print(Text(sentence))


def _times(models: Sequence[Mapping[str, Any]]) -> Any:
    table = _table("time: medians, and where the middle half lies", ("model",))
    for heading in ("window ms", "half", "windows/s", "case s", "half", "GiB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for model in models:
        window, case = model["window_s"], model["case_s"]
        table.add_row(
            *_cells(model["name"], *_spread(window, 1000), _short(model["windows_per_s"]), *_spread(case),
                    f"{model['peak_gib']:.2f}"),
        )  # fmt: skip
    table.caption = "case: image in memory to label map; GiB: peak of the model's own process"
    return table


def _comparison(models: Sequence[Mapping[str, Any]]) -> Any:
    table = _table(f"times as fast as {models[0]['name']} (95 % interval), round by round", ("model", "runs in"))
    for heading in ("window", "whole case", "network"):
        table.add_column(heading, justify="right", no_wrap=True)
    for place, model in enumerate(models):
        ratios = [_ratio(model[f"times_as_fast_{part}"]) if place else "1" for part in ("window", "case")]
        runs_in = f"{model['engine']} {_precision(model)}"
        table.add_row(*_cells(model["name"], runs_in, *ratios, f"{model['network_share']:.0%}"))
    table.caption = "network: its share of a whole case's time"
    return table


def _dice(models: Sequence[Mapping[str, Any]]) -> Any:
    table = _table(f"Dice of {models[0]['dice']['n']} cases", ("model",))
    for heading in ("mean", "95 % interval", f"lower than {models[0]['name']} by"):
        table.add_column(heading, justify="right")
    for place, model in enumerate(models):
        (low, high), drop = model["dice"]["ci95"], model["dice_drop"]
        mean, *ends = (round(value, 4) + 0.0 for value in (drop["mean"], *drop["ci95"]))  # + 0.0: no minus before 0
        lost = f"{mean:.4f} ({ends[0]:.4f} to {ends[1]:.4f})" if place else ""
        table.add_row(*_cells(model["name"], f"{model['dice']['mean']:.4f}", f"{low:.4f} to {high:.4f}", lost))
    return table


def _layers(model: Mapping[str, Any]) -> Any:
    layers = model["per_layer"]
    columns = {"type": "kind", "kernel": "kernel", "runs in": "precision"}
    shown = {heading: key for heading, key in columns.items() if any(layer[key] for layer in layers)}
    table = _table(f"{model['name']}: ms a window by layer", ("layer", *shown))
    for heading in ("ms", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    total = sum(layer["ms"] for layer in layers)
    for layer in layers[:TOP_LAYERS]:
        words = NOISE_IN_NAMES.sub("", layer["name"]), *(layer[key] for key in shown.values())
        table.add_row(*_cells(*words, f"{layer['ms']:.2f}", f"{layer['ms'] / total:.1%}"))
    empty = [""] * len(shown)
    if rest := layers[TOP_LAYERS:]:
        ms = sum(layer["ms"] for layer in rest)
        table.add_row(*_cells(f"{len(rest)} more", *empty, f"{ms:.2f}", f"{ms / total:.1%}"))
    table.add_row(*_cells("all", *empty, f"{total:.2f}", "100.0%"))
    return table


def _table(title: str, words: Sequence[str]) -> Any:
    """A table whose first columns hold `words`, which may take several lines."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in words:
        table.add_column(heading, overflow="fold")
    return table


def _cells(*words: str) -> list[Any]:
    from rich.text import Text

    return [Text(word) for word in words]


def _precision(model: Mapping[str, Any]) -> str:
    """What it computes in, and how its weights are stored where that is something else."""
    stored = model["stored_precision"]
    return model["precision"] + (f", stored {stored}" if stored not in (None, model["precision"]) else "")


def _spread(value: Mapping[str, Any], scale: float = 1.0) -> tuple[str, str]:
    low, high = value["quartiles"]
    return _short(value["median"] * scale), f"{_short(low * scale)}-{_short(high * scale)}"


def _ratio(value: Mapping[str, Any]) -> str:
    interval = "" if value["ci95"] is None else f" ({value['ci95'][0]:.2f} to {value['ci95'][1]:.2f})"
    return f"{value['median']:.2f}{interval}"


def _short(value: float) -> str:
    """Three digits that count: 0.0123, 1.23, 12.3, 123."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
