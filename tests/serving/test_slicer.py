"""Requests as 3D Slicer's MONAI Label extension makes them, byte for byte, and answers read as it reads them.

What it sends: Project-MONAI/MONAILabel, plugins/slicer/MONAILabel/MONAILabelLib/client.py. Sessions are created with
`requests`, everything else with http.client and a form that is put together by hand with a fixed boundary.
"""

from __future__ import annotations

import email
import http.client
import json
from contextlib import closing
from email import policy
from urllib.parse import quote_plus

import numpy as np
import pytest
import requests

from decaseg.serving.slicer import label_names
from decaseg.storage import nifti
from tests.serving.running import Running

BOUNDARY = "----------lImIt_of_THE_fIle_eW_$"


def form(fields: dict[str, str], files: dict[str, tuple[str, bytes]]) -> tuple[str, bytes]:
    lines: list[str | bytes] = []
    for name, value in fields.items():
        lines += ["--" + BOUNDARY, f'Content-Disposition: form-data; name="{name}"', "", value]
    for name, (filename, data) in files.items():
        lines += ["--" + BOUNDARY, f'Content-Disposition: form-data; name="{name}"; filename="{filename}"',
                  "Content-Type: application/gzip", "", data]  # fmt: skip
    lines += ["--" + BOUNDARY + "--", ""]
    body = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\r\n" for line in lines)
    return f"multipart/form-data; boundary={BOUNDARY}", body


def send(server, method: str, selector: str, fields=None, files=None):
    """Status, content type and body; the headers are the three that the extension sets, and http.client's own."""
    kind, body = form(fields or {}, files or {})
    with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
        connection.request(method, selector, body, {"content-type": kind, "content-length": str(len(body))})
        answer = connection.getresponse()
        return answer.status, answer.getheader("content-type"), answer.read()


def parse(kind: str, body: bytes) -> tuple[dict[str, str], dict[str, bytes]]:
    """Fields and files of an answer, as cgi.FieldStorage gives them: with a file name it is a file."""
    message = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body, policy=policy.HTTP)
    fields, files = {}, {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if part.get_filename():
            files[part.get_filename()] = part.get_payload(decode=True)
        else:
            fields[name] = part.get_content() if part.get_content_maintype() == "text" else part.get_payload()
    return fields, files


def infer(server, image: str, session: str, params: str = '{"client_id": "user-xyz"}', files=None, more: str = ""):
    model = next(iter(server.json("GET", "/info/")[1]["models"]))
    selector = f"/infer/{quote_plus(model)}?image={quote_plus(image)}"
    selector += f"&session_id={quote_plus(session)}" if session else ""
    return send(server, "POST", selector + more, {"params": params}, files)


def test_info_has_what_the_extension_reads(server):
    status, info = server.json("GET", "/info/")
    assert status == 200 and not info.get("config")  # which would make it ask for an upgrade
    assert info["labels"] == ["anterior", "posterior"]
    ((name, model),) = info["models"].items()
    assert model["type"] == "segmentation" and model["description"] and model["config"] == {} and name == "bundle"
    assert model["labels"] == {"anterior": 1, "posterior": 2}
    for key in ("strategies", "trainers", "train_stats", "scoring"):
        assert info[key] == {}
    assert info["datastore"] == {"total": 0, "completed": 0}
    assert server.ask("GET", "/train/?check_if_running=true")[0] == 404  # means: no training runs


def test_a_radiologist_segments_from_slicer(server, image_path, tmp_path):
    with image_path.open("rb") as file:
        created = requests.put(f"http://127.0.0.1:{server.port}/session/", files=[("files", (image_path.name, file))],
                               data={"client_id": "user-xyz"}, timeout=30)  # fmt: skip
    assert created.status_code == 200
    session = created.json()["session_id"]
    assert server.json("GET", f"/session/{quote_plus(session)}")[0] == 200
    before = server.files()
    for _ in range(2):  # a session serves more than once
        status, kind, body = infer(server, "Doe John #1", session)
        assert status == 200 and "multipart" in kind
        fields, files = parse(kind, body)
        params = json.loads(fields["params"])
        assert params["label_names"] == {"anterior": 1, "posterior": 2}
        ((name, data),) = files.items()
        assert name.endswith(".nii.gz") and "/" not in name  # the extension joins it to its own folder
    (tmp_path / name).write_bytes(data)
    labels, source = nifti.read(tmp_path / name), nifti.read(image_path)
    assert np.array_equal(labels.affine, source.affine)
    assert data == server.predict(image_path.read_bytes())[2]
    assert server.files() == before
    assert server.ask("DELETE", f"/session/{session}")[0] == 200
    assert server.files() == []
    status, _, body = infer(server, "x", session)
    assert status == 404 and json.loads(body)["error"] == "no_such_session"


def test_an_uploaded_image_is_found_by_its_name(server, image, image_path):
    selector = f"/datastore/?image={quote_plus('../../Doe John')}"
    status, _, body = send(server, "PUT", selector, {"params": "{}"}, {"file": ("/tmp/slicer/x.nii.gz", image)})
    assert status == 200 and json.loads(body) == {"image": "../../Doe John"}
    assert infer(server, "../../Doe John", "")[0] == 200
    assert infer(server, "Doe John", "")[0] == 404
    assert server.json("GET", "/datastore/?output=all")[1]["objects"] == {}  # nobody else learns of it
    status, _, body = send(server, "PUT", selector, {}, {"file": ("y.nii.gz", b"not one")})
    assert status == 422
    assert infer(server, "../../Doe John", "")[0] == 200  # the first is still there


def test_an_image_in_the_form_and_the_other_outputs(server, image):
    files = {"file": ("x.nii.gz", image)}
    status, kind, body = infer(server, "", "", files=files, more="&output=image")
    assert (status, kind) == (200, "application/gzip") and body == server.predict(image)[2]
    status, kind, body = infer(server, "", "", files=files, more="&output=json")
    assert kind == "application/json" and set(json.loads(body)["volumes_ml"]) == {"anterior", "posterior"}
    assert infer(server, "", "", files=files, more="&output=x")[0] == 422
    assert infer(server, "", "")[0] == 404
    status, _, body = infer(server, "", "", files={"label": ("scribbles.nii.gz", image)})
    assert status == 422 and "scribbles" in json.loads(body)["detail"]


def test_what_there_is_not_is_said_so(server, image):
    assert server.json("POST", "/infer/other?image=x")[1]["error"] == "no_such_model"
    assert send(server, "PUT", "/datastore/label?image=x", {"params": "{}"}, {"label": ("l.nii.gz", image)})[0] == 404
    assert server.ask("POST", "/activelearning/random", b"{}")[0] == 404
    assert server.ask("GET", "/session/none")[0] == 404
    assert server.ask("GET", "/logs/")[0] == 200


def test_labels_with_gaps_keep_their_names_in_slicer():
    """Slicer takes the n-th name for value n, so values that the model does not have get names too."""
    assert label_names({"tumour": 5, "liver": 2}) == {
        "unused 1": 1, "liver": 2, "unused 3": 3, "unused 4": 4, "tumour": 5,
    }  # fmt: skip


@pytest.mark.parametrize("right", [True, False])
def test_logging_in_with_the_token_as_password(drawn, tmp_path, image, right):
    token = "x0123456789abcdef" * 3
    (tmp_path / "token").write_text(token)
    (tmp_path / "token").chmod(0o600)
    with Running(drawn, tmp_path / "s", "--token-file", tmp_path / "token") as server:
        assert server.json("GET", "/auth/")[1]["enabled"] is True
        assert server.ask("GET", "/info/")[0] == 401
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        password = token if right else token[:-1]
        status, said = server.json("POST", "/auth/token", f"username=doe&password={password}", form)
        assert status == (200 if right else 401)
        if right:
            head = {"Authorization": f"{said['token_type']} {said['access_token']}"}
            assert server.ask("GET", "/info/", headers=head)[0] == 200
            assert server.ask("GET", "/auth/token/valid", headers=head)[0] == 200
            assert server.ask("POST", "/predict", image, head)[0] == 200
        assert token not in server.errors.read_text()
