"""README.md of a served model: the exact request, and what the client does, since the server only runs the network."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

CLIENT = '''```python
import json
import urllib.request

import numpy as np

URL = "http://localhost:8000/v2/models/{name}/infer"


def infer(windows):
    """Logits (B, {outputs}, {x}, {y}, {z}) of windows (B, {channels}, {x}, {y}, {z}), both float32."""
    data = np.ascontiguousarray(windows, "<f4").tobytes()
    question = json.dumps({{
        "inputs": [{{"name": "image", "shape": list(windows.shape), "datatype": "FP32",
                    "parameters": {{"binary_data_size": len(data)}}}}],
        "outputs": [{{"name": "logits", "parameters": {{"binary_data": True}}}}],
    }}).encode()
    headers = {{"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(question))}}
    with urllib.request.urlopen(urllib.request.Request(URL, question + data, headers)) as answer:
        length, body = int(answer.headers["Inference-Header-Content-Length"]), answer.read()
    output = json.loads(body[:length])["outputs"][0]
    return np.frombuffer(body[length:], "<f4").reshape(output["shape"])
```'''

WHOLE = '''```python
from dataclasses import replace

import decaseg


class Served:
    name, precision = "kserve", "{computes}"

    def __call__(self, windows):
        return infer(windows)


def segment(bundle, image, out):
    """From NIfTI to label map; the bundle says how, the server runs the network."""
    predictor = replace(decaseg.load(bundle), engine=Served())
    decaseg.write(out, predictor(decaseg.read(image)).labels)
```'''


def serving_notes(document: Mapping[str, Any], name: str) -> str:
    """The README of a bundle's model that is served as `name`; every number comes from bundle.json."""
    plan = document["plan"]
    x, y, z = plan["patch"]
    network = plan["network"]
    words = {
        "name": name, "x": x, "y": y, "z": z, "channels": network["in_channels"], "outputs": network["out_channels"],
        "computes": document["compute_precision"],
    }  # fmt: skip
    megabytes = prod(plan["patch"]) * network["in_channels"] * 4 / 1e6
    return "\n".join(
        [
            f"# {name}: {plan['dataset']}, served",
            "",
            "For research. **Not a medical device.** The server runs the network on one window; everything before and "
            "after it is the client's work.",
            "",
            _gate(document),
            "",
            "Written after the documented layout and protocol; **no model server was run to test it**. The Python "
            "below is tested against a small server of the same protocol.",
            "",
            "## Start",
            "",
            "In the folder that holds `config.json` (servers older than mid-2023 need absolute paths in it):",
            "",
            "```",
            'docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD:/models:ro" openvino/model_server:latest \\',
            "    --config_path /models/config.json --rest_port 8000",
            f"curl http://localhost:8000/v2/models/{name}/ready",
            f"curl http://localhost:8000/v2/models/{name}",
            "```",
            "",
            "The last answers with `metadata.json`. The server asks for no password: leave it on loopback, or put a "
            "gateway that asks for one in front.",
            "",
            "## Request",
            "",
            f"Input `image`, FP32, `[B, {network['in_channels']}, {x}, {y}, {z}]`; output `logits`, FP32, "
            f"`[B, {network['out_channels']}, {x}, {y}, {z}]`; B as you like. As binary tensor data (little-endian, "
            f"row by row, {megabytes:.1f} MB a window):",
            "",
            CLIENT.format(**words),
            "",
            "As JSON, which is larger and slower; `request.json` holds "
            f'`{{"inputs": [{{"name": "image", "shape": [1, {network["in_channels"]}, {x}, {y}, {z}], '
            '"datatype": "FP32", "data": [...]}]}` with all numbers in one list:',
            "",
            "```",
            f"curl -d @request.json http://localhost:8000/v2/models/{name}/infer",
            "```",
            "",
            *_before_and_after(document),
            "",
            "decaseg does all of it. With this function for an engine, and the BUNDLE this was exported to:",
            "",
            WHOLE.format(**words),
            "",
        ]
    )


def _gate(document: Mapping[str, Any]) -> str:
    parity = document.get("parity")
    if not parity:
        return "**Nobody has checked that it predicts as the trained model does**: it was exported without `--data`."
    return f"Its parity gate, in {parity['export']}: {parity['reason']} (n = {parity['cases']} cases)."


def _before_and_after(document: Mapping[str, Any]) -> list[str]:
    """The client's steps in order, as `data.preprocess`, `inference.windows` and `inference.restore` do them."""
    plan, how = document["plan"], document["preprocessing"]
    spacing = " x ".join(f"{s:g}" for s in how["spacing_mm"])
    channels = ", ".join(
        f"{place} ({name})" for place, name in zip(how["channel_indices"], how["channels"], strict=True)
    )
    crop = "the box round all voxels where any channel is not 0" if how["crop_to_nonzero"] else "nothing"
    steps = [
        "Turn the axes so that they run right, anterior, superior.",
        f"Take channels {channels} of the file's {how['file_channels']}, counted from 0.",
        f"Cut out {crop}.",
        *(_normalisation(name, one) for name, one in zip(how["channels"], how["normalisation"], strict=True)),
        f"Resample to {spacing} mm by cubic splines (nearest across slices more than 3 times as thick as the rest), "
        "the edges of both volumes in one place.",
        f"Cut windows of {' x '.join(map(str, plan['patch']))}, evenly spread, at most half a window apart, both ends "
        "covered; a smaller volume is padded with 0 on both sides. Send them.",
        "Add up each window's logits weighted by a Gaussian whose sigma is an eighth of the window's length (nowhere "
        "below 0.001), and divide by the sum of weights.",
        "Resample the logits linearly to the grid before resampling.",
        _labels(plan),
        "Put the result back where it was cut out, 0 elsewhere, and turn the axes back to the file's.",
    ]
    if document.get("postprocessing"):
        steps.append("Clean the label map as `postprocessing` in bundle.json says.")
    return ["## Before and after", "", *(f"{number}. {step}" for number, step in enumerate(steps, 1))]


def _normalisation(name: str, one: Mapping[str, Any]) -> str:
    if one["kind"] == "ct":
        return f"{name}: clip to {one['low']:g} to {one['high']:g}, subtract {one['mean']:g}, divide by {one['std']:g}."
    over = (
        "the voxels where any channel is not 0; the others become 0"
        if one["kind"] == "zscore_nonzero"
        else "all voxels"
    )
    return f"{name}: subtract the mean and divide by the standard deviation, both over {over}."


def _labels(plan: Mapping[str, Any]) -> str:
    target = plan["target"]
    painted = ", ".join(f"{v} {s['name']}" for v, s in zip(target["paint"], target["structures"], strict=True))
    if target["kind"] == "all":
        return f"Each voxel gets the class with the largest logit: 0 background, {painted}."
    return f"Where a structure's logit is above 0 it is there; paint in this order, the last on top: {painted}."
