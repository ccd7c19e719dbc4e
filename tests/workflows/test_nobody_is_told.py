"""Exporting, quantising and predicting talk to nobody: OpenVINO and NNCF would report their use."""

import os
import subprocess
import sys

WATCHED = """
import sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.Request"):
        print("NETWORK", event, arguments, flush=True)

sys.addaudithook(watch)
from decaseg.cli import call

code = call(sys.argv[1:])
assert sys.modules.get("openvino_telemetry") is None
sys.exit(code)
"""


def watched(home, *words):
    env = {k: v for k, v in os.environ.items() if k not in ("CI", "TF_BUILD", "JENKINS_URL")} | {"HOME": str(home)}
    return subprocess.run([sys.executable, "-c", WATCHED, *map(str, words)], env=env, capture_output=True, text=True)


def test_no_connection_is_made_and_nothing_is_left_at_home(tiny, tmp_path):
    home, bundle = tmp_path / "home", tmp_path / "bundle"
    home.mkdir()
    options = ["--precision", "int8", "--data", tiny / "data", "--max-drop", "1"]
    export = watched(home, "export", tiny / "run", "--out", bundle, *options)
    assert (bundle / "model.xml").is_file(), export.stderr
    image = tiny / "data" / "imagesTr" / "case_000.nii.gz"
    predict = watched(home, "predict", bundle, image, "--out", tmp_path / "p")
    assert predict.returncode == 0, predict.stderr
    assert "NETWORK" not in export.stdout + predict.stdout
    assert not list(home.rglob("*"))
