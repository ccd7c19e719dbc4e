"""`decaseg serve` as a command: what it refuses, what it prints, and that it labels as `predict` does."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from decaseg.cli import call
from decaseg.storage import nifti
from tests.serving.drawn import write_bundle, write_run
from tests.serving.running import Running
from tests.synthetic import write_dataset
from tests.workflows.test_without_torch import PROGRAM

HIPPOCAMPUS = Path(__file__).parents[3] / "shared" / "data" / "Task04_Hippocampus" / "imagesTr"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = write_dataset(tmp_path_factory.mktemp("images") / "data", cases=2, shape=(33, 28, 20),
                         affine=np.diag([-0.9, 1.2, 1, 1]))  # fmt: skip
    real = sorted(path for path in HIPPOCAMPUS.glob("*.nii.gz") if not path.name.startswith("."))[:2]
    return sorted((root / "imagesTr").iterdir()) + real


def same_as_predict(model, images, folder, *options):
    """Whether each image's served file is the command line's to the last byte; and how many labels there were."""
    out = folder / "predicted"
    assert call(["predict", str(model), *map(str, images), "--out", str(out), "--threads", "1", *options]) == 0
    labels = set()
    with Running(model, folder / "serve", *options) as server:
        for image in images:
            status, _, data = server.predict(image.read_bytes())
            assert status == 200 and data == (out / image.name).read_bytes(), image
            labels |= set(np.unique(nifti.read(out / image.name).array))
    return labels


def test_labels_are_those_of_the_command_line(drawn, images, tmp_path):
    assert same_as_predict(drawn, images, tmp_path) == {0, 1, 2}


def test_options_and_a_run_are_served_too(images, tmp_path):
    run = write_run(tmp_path / "run")
    assert same_as_predict(run, images[:1], tmp_path, "--tta", "--step", "0.7", "--device", "cpu") >= {0, 1}


def test_a_bundle_is_served_without_torch(drawn, images, tmp_path):
    """In the server's process and, since it is started anew, in the model's: `torch` cannot be found in either."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('torch is not here')")
    blocked = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    assert subprocess.run([sys.executable, "-c", "import torch"], env=blocked, capture_output=True).returncode
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = blocked["PYTHONPATH"]
    try:
        with Running(drawn, tmp_path / "serve", program=("-c", PROGRAM, "scipy")) as server:
            assert server.predict(images[0].read_bytes())[0] == 200
    finally:
        os.environ["PYTHONPATH"] = before or ""
    assert server.process.returncode == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_ends_when_told_to(drawn, tmp_path, number, code):
    with Running(drawn, tmp_path) as server:
        assert server.said.startswith("serving bundle on http://127.0.0.1:")
        server.process.send_signal(number)
        assert server.process.wait(300) == code
        assert not server.spool.exists()
        assert [event["event"] for event in server.events()][-2:] == ["stopping", "stopped"]
        assert len(server.events()) == len(server.errors.read_text().splitlines())  # nothing but JSON


def refused(capfd, *words) -> str:
    assert call(["serve", *map(str, words)]) == 2
    said = capfd.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    return said


def test_what_keeps_it_from_starting_is_one_line(drawn, tmp_path, capfd):
    token = tmp_path / "token"
    token.write_text("x0123456789abcdef" * 3)
    assert "--token-file" in refused(capfd, drawn, "--host", "0.0.0.0")
    token.chmod(0o644)
    assert "chmod 600" in refused(capfd, drawn, "--host", "0.0.0.0", "--token-file", token)
    assert "chmod 600" in refused(capfd, drawn, "--token-file", token)  # on loopback too
    assert "no such model" in refused(capfd, tmp_path / "none")
    assert "neither a RUN" in refused(capfd, tmp_path, "--port", 0)
    assert "--tls-key" in refused(capfd, drawn, "--tls-cert", token)
    assert "--tls-cert" in refused(capfd, drawn, "--tls-cert", token, "--tls-key", token)
    assert "--queue 0" in refused(capfd, drawn, "--queue", 0)
    assert "--max-image nan" in refused(capfd, drawn, "--max-image", "nan")
    assert "--engine onnx" in refused(capfd, drawn, "--port", 0, "--engine", "onnx")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "cannot be listened on" in refused(capfd, drawn, "--port", taken.getsockname()[1])


def test_beyond_loopback_with_a_token(drawn, images, tmp_path):
    token = "x0123456789abcdef" * 3
    (tmp_path / "token").write_text(token)
    (tmp_path / "token").chmod(0o600)
    with Running(drawn, tmp_path / "s", "--host", "0.0.0.0", "--token-file", tmp_path / "token") as server:
        image = images[0].read_bytes()
        assert server.predict(image)[0] == 401
        assert any("unencrypted" in event.get("message", "") for event in server.events())
        for given in (f"Bearer {token[:-1]}", f"Bearer {token}x", "Bearer", f"Basic {token}"):
            assert server.ask("POST", "/predict", image, {"Authorization": given})[0] == 401
        assert server.ask("POST", "/predict", image, {"Authorization": f"Bearer {token}"})[0] == 200
        assert server.ask("GET", "/health")[0] == server.ask("GET", "/ready")[0] == server.ask("GET", "/")[0] == 200


def test_over_tls(drawn, images, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl(1) to make a certificate")
    files = [tmp_path / "key.pem", tmp_path / "cert.pem"]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost", "-keyout", files[0], "-out", files[1]], check=True,
                   capture_output=True)  # fmt: skip
    with Running(drawn, tmp_path / "s", "--tls-key", files[0], "--tls-cert", files[1]) as server:
        assert server.said.startswith("serving bundle on https://")
        trust = ssl.create_default_context(cafile=str(files[1]))
        with closing(http.client.HTTPSConnection("localhost", server.port, context=trust)) as connection:
            connection.request("POST", "/predict", images[0].read_bytes())
            assert connection.getresponse().status == 200


def test_pages_load_nothing_from_elsewhere(drawn, tmp_path):
    with Running(drawn, tmp_path) as server:
        for path in ("/", "/docs", "/pages/index.js", "/pages/docs.js", "/pages/style.css"):
            status, headers, data = server.ask("GET", path)
            text = data.decode()
            assert status == 200 and "http://" not in text and "https://" not in text and "innerHTML" not in text
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "<script>" not in text and "onclick" not in text and "style=" not in text
        document = server.json("GET", "/openapi.json")[1]
        for path in ("/predict", "/jobs", "/jobs/{job_id}", "/metrics", "/info/", "/infer/{model}", "/session/"):
            assert path in document["paths"]
        assert "curl" in str(document["paths"]["/predict"])
