"""export --evaluation, --licence and --model-repository: what it writes, and that a server's client can use it."""

import http.server
import json
import re
import shutil
import threading

import numpy as np
import pytest

import decaseg
from decaseg.cli import call
from decaseg.exporting.model_card import model_card
from decaseg.exporting.model_repository import write_model_repository
from decaseg.storage import nifti
from decaseg.storage.bundle import BundleDir
from decaseg.storage.files import sha256_of
from tests.exporting.test_model_card import forms, numbers

# Facts of OpenVINO Model Server's src/schema.cpp (MODELS_CONFIG_SCHEMA): an entry's keys and types; no others may be.
KEYS = {
    "name": str, "base_path": str, "batch_size": (int, str), "model_version_policy": dict, "shape": (dict, str),
    "layout": (dict, str), "nireq": int, "target_device": str, "plugin_config": dict, "stateful": bool,
    "idle_sequence_cleanup": bool, "low_latency_transformation": bool, "max_sequence_number": int,
    "custom_loader_options": dict,
}  # fmt: skip
TOP = {"model_config_list", "custom_loader_config_list", "pipeline_config_list", "custom_node_library_config_list",
       "mediapipe_config_list", "monitoring"}  # fmt: skip
DATATYPES = {"f32": "FP32"}


@pytest.fixture(scope="module")
def published(tiny, tmp_path_factory):
    """The tiny bundle exported into a repository, with an evaluation and a licence in its card."""
    root = tmp_path_factory.mktemp("published")
    data = ["--data", f"{tiny}/data", "--threads", "1"]
    assert call(["evaluate", f"{tiny}/run", "--out", f"{root}/evaluation", "--no-pictures", *data]) == 0
    words = ["--evaluation", f"{root}/evaluation", "--licence", "CC-BY-SA 4.0"]
    words += ["--model-repository", f"{root}/repository", "--served-name", "tiny"]
    assert call(["export", f"{tiny}/run", "--out", f"{root}/bundle", *data, *words]) == 0
    return root


def read(path):
    return json.loads(path.read_text())


def check_config(config):
    assert set(config) <= TOP and isinstance(config["model_config_list"], list)
    for entry in config["model_config_list"]:
        assert set(entry) == {"config"} and {"name", "base_path"} <= set(entry["config"])
        for key, value in entry["config"].items():
            assert isinstance(value, KEYS[key]), key


def test_the_folder_is_what_the_server_reads(published):
    repository = published / "repository"
    config = read(repository / "config.json")
    check_config(config)
    (entry,) = config["model_config_list"]
    base = repository / entry["config"]["base_path"]  # relative to config.json: the folder can be moved
    assert not entry["config"]["base_path"].startswith("/") and base == repository / "tiny"
    versions = [p.name for p in base.iterdir() if p.is_dir()]
    assert versions == ["1"] and {p.name for p in (base / "1").iterdir()} == {"model.xml", "model.bin"}
    assert str(published) not in (repository / "config.json").read_text() + (base / "README.md").read_text()


def test_the_metadata_is_the_networks_own_and_it_runs_from_there(published, tmp_path):
    import openvino

    moved = tmp_path / "elsewhere"
    shutil.copytree(published / "repository", moved)
    entry = read(moved / "config.json")["model_config_list"][0]["config"]
    compiled = openvino.Core().compile_model(
        str(moved / entry["base_path"] / "1" / "model.xml"), entry["target_device"], entry["plugin_config"]
    )
    metadata = read(moved / "tiny" / "metadata.json")
    assert metadata["name"] == "tiny" and metadata["versions"] == ["1"]
    for side, tensors in (("inputs", compiled.inputs), ("outputs", compiled.outputs)):
        (told,), (own,) = metadata[side], tensors
        shape = [-1 if axis.is_dynamic else axis.get_length() for axis in own.partial_shape]
        assert told == {"name": own.any_name, "datatype": DATATYPES[own.element_type.get_type_name()], "shape": shape}
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"


def test_the_model_is_stored_once(published):
    for name in ("model.xml", "model.bin"):
        assert (published / "bundle" / name).samefile(published / "repository" / "tiny" / "1" / name)


def test_another_export_is_another_version_and_the_same_one_is_not(published, tmp_path):
    repository = tmp_path / "repository"
    shutil.copytree(published / "bundle", tmp_path / "bundle")
    bundle = BundleDir(tmp_path / "bundle")
    assert write_model_repository(bundle, repository, "a").name == "1"
    assert write_model_repository(bundle, repository, "a").name == "1"
    first = sha256_of(repository / "a" / "1" / "model.bin")
    weights = bundle.weights.read_bytes()
    bundle.weights.unlink()  # as exports do: a new file in the old one's place
    bundle.weights.write_bytes(bytes(len(weights)))
    assert write_model_repository(bundle, repository, "a").name == "2"
    assert sha256_of(repository / "a" / "1" / "model.bin") == first
    assert read(repository / "a" / "metadata.json")["versions"] == ["1", "2"]
    config = read(repository / "config.json")
    config["model_config_list"][0]["config"]["nireq"] = 4
    config["model_config_list"].append({"config": {"name": "other", "base_path": "/models/other", "nireq": 2}})
    (repository / "config.json").write_text(json.dumps(config))
    write_model_repository(bundle, repository, "b")
    config = read(repository / "config.json")
    check_config(config)
    assert [e["config"]["name"] for e in config["model_config_list"]] == ["a", "other", "b"]
    assert config["model_config_list"][1]["config"]["nireq"] == 2


def test_what_cannot_be_published_is_said_before_the_work(tiny, published, tmp_path, capsys):
    (tmp_path / "spoilt").mkdir()
    (tmp_path / "spoilt" / "config.json").write_text("[]")
    (tmp_path / "empty").mkdir()
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "evaluation.json").write_text('{"run": "../../run2"}')
    cases = {
        "stands in URLs": ["--model-repository", f"{tmp_path}/r", "--served-name", "../x"],
        "add --model-repository": ["--served-name", "x"],
        "no configuration of OpenVINO Model Server": ["--model-repository", f"{tmp_path}/spoilt"],
        "metrics.json: there is no such file": ["--evaluation", f"{tmp_path}/empty"],
        "is another RUN's": ["--evaluation", f"{tmp_path}/others"],
    }
    for says, words in cases.items():
        assert call(["export", f"{tiny}/run", "--out", f"{tmp_path}/b", *words]) == 2
        assert says in capsys.readouterr().err and not (tmp_path / "b").exists()


def test_a_failed_export_is_not_published(published, tmp_path, capsys):
    from decaseg.workflows.publishing import Publishing

    assert Publishing(repository=tmp_path / "r").finish(published / "bundle", 1) == 1
    assert "nothing was put there" in capsys.readouterr().out and not (tmp_path / "r").exists()


def test_card_and_bundle_hold_the_evaluation_without_names(published):
    document, metrics = read(published / "bundle" / "bundle.json"), read(published / "evaluation" / "metrics.json")
    card = (published / "bundle" / "MODEL_CARD.md").read_text()
    assert document["licence"] == "CC-BY-SA 4.0" and "| Licence of the weights | CC-BY-SA 4.0 |" in card
    for structure, found in document["evaluation"]["structures"].items():
        wanted = metrics["structures"][structure]["dice"]
        assert found["dice"] == wanted and f"| {structure} | dice | {wanted['mean']:.4g} |" in card
        dice = [case[structure]["dice"] for case in metrics["cases"].values()]
        assert found["failures"] == {"lowest_dice": min(dice), "without_overlap": dice.count(0)}
    everything = json.dumps(document) + card + (published / "repository" / "tiny" / "README.md").read_text()
    assert not [case for case in metrics["cases"] if case in everything]


class Stand(http.server.BaseHTTPRequestHandler):
    """KServe's protocol v2 over HTTP, with OpenVINO behind it, as far as the README's requests go."""

    compiled = None

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        length = int(self.headers.get("Inference-Header-Content-Length", len(body)))
        asked = json.loads(body[:length])
        (tensor,) = asked["inputs"]
        assert tensor["name"] == "image" and tensor["datatype"] == "FP32"
        if "binary_data_size" in tensor.get("parameters", {}):
            assert tensor["parameters"]["binary_data_size"] == len(body) - length
            windows = np.frombuffer(body[length:], "<f4").reshape(tensor["shape"])
        else:
            windows = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
        logits = self.compiled(windows)[0]
        output = {"name": "logits", "shape": list(logits.shape), "datatype": "FP32"}
        binary = asked.get("outputs", [{}])[0].get("parameters", {}).get("binary_data")
        data = logits.astype("<f4").tobytes() if binary else b""
        output |= {"parameters": {"binary_data_size": len(data)}} if binary else {"data": logits.ravel().tolist()}
        head = json.dumps({"model_name": "tiny", "outputs": [output]}).encode()
        self.send_response(200)
        if binary:
            self.send_header("Inference-Header-Content-Length", str(len(head)))
        self.send_header("Content-Length", str(len(head) + len(data)))
        self.end_headers()
        self.wfile.write(head + data)

    def log_message(self, *words):
        pass


@pytest.fixture
def server(published):
    import openvino

    model = published / "repository" / "tiny" / "1" / "model.xml"
    compiled = openvino.Core().compile_model(str(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    stand = type("Served", (Stand,), {"compiled": compiled})
    with http.server.HTTPServer(("127.0.0.1", 0), stand) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_the_readmes_python_segments_a_case_through_a_server(tiny, published, server, tmp_path):
    notes = (published / "repository" / "tiny" / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", notes, re.DOTALL)
    program = "\n".join(blocks).replace("http://localhost:8000", server)
    space = {"__name__": "readme"}
    exec(compile(program, "README.md", "exec"), space)
    image = tiny / "data" / "imagesTr" / "case_000.nii.gz"
    space["segment"](published / "bundle", image, tmp_path / "served.nii.gz")
    assert call(["predict", f"{published}/bundle", f"{image}", "--out", f"{tmp_path}/p"]) == 0
    wanted = nifti.read(tmp_path / "p" / "case_000.nii.gz").array
    np.testing.assert_array_equal(nifti.read(tmp_path / "served.nii.gz").array, wanted)
    predictor = decaseg.load(published / "bundle")
    windows = np.random.default_rng(0).standard_normal((2, 1, *predictor.window), dtype=np.float32)
    np.testing.assert_allclose(space["infer"](windows), predictor.engine(windows), atol=1e-5)


def test_the_readmes_json_request_gives_the_same_numbers(published, server):
    import urllib.request

    notes = (published / "repository" / "tiny" / "README.md").read_text()
    (template,) = re.findall(r"`(\{\"inputs\".*?\]\})`", notes)
    shape = json.loads(re.search(r"\"shape\": (\[.*?\])", template)[1])
    window = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    request = template.replace("[...]", json.dumps(window.ravel().tolist())).encode()
    url = f"{server}/v2/models/tiny/infer"
    with urllib.request.urlopen(urllib.request.Request(url, request)) as answer:
        (output,) = json.loads(answer.read())["outputs"]
    assert output["shape"][2:] == shape[2:] and np.isfinite(output["data"]).all()
    assert len(output["data"]) == np.prod(output["shape"])


def test_the_bundles_own_card_holds_to_it(tiny):
    document = json.loads((tiny / "bundle" / "bundle.json").read_text())
    card = (tiny / "bundle" / "MODEL_CARD.md").read_text()
    assert card == model_card(document)
    assert not set(numbers(card)) - forms(document)
    assert "case_00" not in card
    assert document["training"]["recipe"]["seed"] == 0 and document["training"]["steps"] == 60
    assert set(document["sha256"]) == {"model.xml", "model.bin"}
    structures = document["parity"]["structures"]
    means = [s["dice"]["mean"] for s in structures.values()]
    assert sum(means) / len(means) == pytest.approx(document["parity"]["mean_dice_export"])
    assert document["parity"]["seconds_a_case"] > 0


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_a_model_that_is_not_the_exported_one_is_refused(published, tiny, tmp_path, capsys, name):
    """One flipped bit of a weight would change predictions without a word."""
    bundle = tmp_path / "bundle"
    shutil.copytree(published / "bundle", bundle)
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    image = tiny / "data" / "imagesTr" / "case_000.nii.gz"
    assert call(["predict", str(bundle), str(image), "--out", str(tmp_path / "p")]) == 2
    said = capsys.readouterr().err
    assert name in said and "copy the bundle again" in said and not (tmp_path / "p" / "case_000.nii.gz").exists()


def test_a_bundle_names_no_folder_of_the_machine_it_was_made_on(published, tiny):
    told = (published / "bundle" / "bundle.json").read_text() + (published / "bundle" / "MODEL_CARD.md").read_text()
    assert str(tiny.parent) not in told and str(published) not in told
    command = json.loads((published / "bundle" / "bundle.json").read_text())["provenance"]["run"]["command"]
    assert command and not any("/" in word for word in command)
