"""Jobs: progress, results, cancelling, forgetting, and an orderly end."""

from __future__ import annotations

import gzip
import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np

from decaseg.storage import nifti
from decaseg.volume import Volume
from tests.serving.drawn import write_bundle
from tests.serving.running import RAW, Running, until


def test_a_job_is_followed_fetched_and_deleted(server, image, image_path, tmp_path):
    job = server.submit(image)
    ended = server.wait(job, "done")
    assert ended["windows"]["done"] == ended["windows"]["total"] > 1
    status, headers, data = server.ask("GET", f"/jobs/{job}/labels")
    assert status == 200 and headers["content-type"] == "application/gzip"
    path = tmp_path / "labels.nii.gz"
    path.write_bytes(data)
    labels, source = nifti.read(path), nifti.read(image_path)
    assert np.array_equal(labels.affine, source.affine) and labels.shape == source.shape
    counts = np.bincount(labels.array.ravel(), minlength=3)
    assert (counts > 0).all()  # else the next line says nothing
    _, said = server.json("GET", f"/jobs/{job}/volumes")
    voxel_ml = source.grid.voxel_ml
    assert np.allclose([said["volumes_ml"][n] for n in ("anterior", "posterior")], counts[1:] * voxel_ml, atol=1e-6)
    assert said["labels"] == {"1": "anterior", "2": "posterior"}
    assert json.loads(headers["x-volumes-ml"]) == said["volumes_ml"]
    assert server.ask("DELETE", f"/jobs/{job}")[0] == 204
    assert server.ask("GET", f"/jobs/{job}")[0] == 404
    assert server.files() == []


def test_a_result_that_is_not_there_yet(slow, large):
    job = slow.submit(large)
    for what in ("labels", "volumes"):
        status, said = slow.json("GET", f"/jobs/{job}/{what}")
        assert status == 409 and said["error"] == "not_finished"
    assert slow.json("GET", "/jobs/none/labels")[0] == 404


def test_cancelling_stops_the_work_between_windows(slow, image, large):
    job, waiting = slow.submit(large), slow.submit(large)
    slow.wait(job, "running")
    until(lambda: slow.json("GET", f"/jobs/{job}")[1]["windows"]["done"] > 0)
    assert slow.json("POST", f"/jobs/{waiting}/cancel")[1]["state"] == "cancelled"
    status, ended = slow.json("POST", f"/jobs/{job}/cancel")
    assert status == 200 and ended["state"] == "cancelled"
    assert 0 < ended["windows"]["done"] < ended["windows"]["total"]
    pid = slow.model_pid()
    assert slow.predict(image)[0] == 200  # by the same process: it was asked to stop, not killed
    assert slow.model_pid() == pid
    assert slow.json("GET", f"/jobs/{job}/labels")[1]["error"] == "cancelled"


def test_a_client_that_goes_away_takes_its_job_along(slow, image, large):
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(large)}\r\n\r\n"
    with slow.connect() as connection:
        connection.sendall(head.encode() + large)
        until(lambda: slow.metrics()["decaseg_jobs_running"])
    assert slow.predict(image)[0] == 200
    assert slow.metrics()['decaseg_jobs_total{outcome="cancelled"}'] == 1
    assert slow.files() == []


def test_deleting_a_running_job_leaves_nothing(slow, image, large):
    job = slow.submit(large)
    slow.wait(job, "running")
    assert slow.ask("DELETE", f"/jobs/{job}")[0] == 204
    assert slow.predict(image)[0] == 200
    assert slow.files() == []


def test_predictions_have_their_time(drawn, tmp_path, large):
    with Running(drawn, tmp_path, "--step", 0.03, "--time-limit", 0.5) as server:
        status, said = server.json("POST", "/predict", large, RAW)
        assert status == 422 and said["error"] == "time_limit"
        assert server.files() == []


def test_results_have_their_time(drawn, tmp_path, image):
    with Running(drawn, tmp_path, "--keep", 5) as server:
        began = time.monotonic()
        job = server.submit(image)
        server.wait(job, "done")
        until(lambda: server.ask("GET", f"/jobs/{job}")[0] == 404)
        assert time.monotonic() - began >= 5
        assert server.files() == []


def test_a_model_that_does_not_hear_is_killed(slow, image, large):
    job = slow.submit(large)
    slow.wait(job, "running")
    pid = slow.model_pid()
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    assert slow.json("POST", f"/jobs/{job}/cancel")[1]["state"] == "cancelled"
    assert 4 < time.monotonic() - started < 25  # its silence alone would be noticed after 30
    assert slow.predict(image)[0] == 200
    assert slow.model_pid() != pid


QUICKLY = "from decaseg.serving import supervisor; supervisor.SILENCE_S = 10; from decaseg.cli import main; main()"


def test_a_model_that_is_frozen_is_replaced_and_its_job_is_done_again(drawn, tmp_path, large):
    options = "--step", 0.03, "--grace", 1
    with Running(drawn, tmp_path / "slow", *options, program=("-c", QUICKLY)) as server:
        job = server.submit(large)
        server.wait(job, "running")
        pid = server.model_pid()
        os.kill(pid, signal.SIGSTOP)
        until(lambda: server.metrics()["decaseg_worker_starts_total"] == 2 and server.ask("GET", "/ready")[0] == 200)
        assert server.wait(job, "running")["state"] == "running" and server.model_pid() != pid
        assert any(event.get("reason") == "silent" for event in server.events())


def test_several_channels_in_a_form_or_in_one_file(tmp_path):
    rng = np.random.default_rng(5)
    array = rng.normal(100, 20, (2, 20, 18, 17)).astype(np.float32)
    affine = np.diag([-1.0, 1, 1.2, 1])
    files = {"both": array, "FLAIR": array[:1], "T1w": array[1:]}
    for name, part in files.items():
        nifti.write(tmp_path / f"{name}.nii.gz", Volume.of(part, affine))
    data = {name: (tmp_path / f"{name}.nii.gz").read_bytes() for name in files}

    def parts(*names: tuple[str, str]) -> tuple[bytes, dict[str, str]]:
        body = b"".join(
            f'--b\r\nContent-Disposition: form-data; name="{field}"; filename="x"\r\n\r\n'.encode()
            + data[name]
            + b"\r\n"
            for field, name in names
        )
        return body + b"--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}

    with Running(write_bundle(tmp_path / "m", channels=("FLAIR", "T1w")), tmp_path / "s") as server:
        status, _, whole = server.predict(data["both"])
        assert status == 200
        in_order = server.ask("POST", "/predict", *parts(("image", "FLAIR"), ("image", "T1w")))
        named = server.ask("POST", "/predict", *parts(("T1w", "T1w"), ("FLAIR", "FLAIR")))
        swapped = server.ask("POST", "/predict", *parts(("image", "T1w"), ("image", "FLAIR")))
        assert in_order[0] == named[0] == swapped[0] == 200
        assert in_order[2] == named[2] == whole != swapped[2]
        status, said = server.json("POST", "/predict", data["FLAIR"], RAW)
        assert status == 422 and said["error"] == "wrong_channels" and "FLAIR, T1w" in said["detail"]
        other = tmp_path / "other.nii.gz"
        nifti.write(other, Volume.of(array[1:], np.diag([1.0, 1, 1.2, 1])))
        data["T1w"] = other.read_bytes()
        status, said = server.json("POST", "/predict", *parts(("image", "FLAIR"), ("image", "T1w")))
        assert status == 422 and "another grid" in said["detail"]


def test_sigterm_finishes_the_running_job_and_gives_the_waiting_ones_back(drawn, tmp_path, image):
    with Running(drawn, tmp_path / "s", "--grace", 300) as server, server.standing_still() as model:
        answers: dict[str, tuple] = {}

        def ask(name: str) -> None:
            answers[name] = server.ask("POST", "/predict", image, RAW)

        threads = []
        for name in ("running", "waiting"):
            threads.append(threading.Thread(target=ask, args=(name,)))
            threads[-1].start()
            wanted = "decaseg_jobs_running" if name == "running" else "decaseg_queue_length"
            until(lambda wanted=wanted: server.metrics()[wanted])
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.json("GET", "/ready") == (503, {"ready": False, "why": "shutting down"}))
        assert server.ask("POST", "/predict", image, RAW)[0] == 503
        os.kill(model, signal.SIGCONT)
        assert server.process.wait(300) == 0
        for thread in threads:
            thread.join()
        assert answers["running"][0] == 200 and gzip.decompress(answers["running"][2])
        assert answers["waiting"][0] == 503 and int(answers["waiting"][1]["retry-after"]) > 0
        assert not server.spool.exists()
        assert not Path(f"/proc/{model}").exists()


def test_a_job_that_outlasts_the_grace_is_ended(slow, large):
    job = slow.submit(large)
    slow.wait(job, "running")
    slow.process.send_signal(signal.SIGTERM)
    assert slow.process.wait(300) == 0
    assert [event["outcome"] for event in slow.events() if event["event"] == "job"] != ["done"]
    assert not slow.spool.exists()


def test_a_killed_server_leaves_no_process_and_the_next_start_removes_its_files(drawn, tmp_path, large):
    with Running(drawn, tmp_path, "--step", 0.03) as server:
        server.wait(server.submit(large), "running")
        model = server.model_pid()
        server.process.kill()
        server.process.wait()
        assert server.files()
        until(lambda: gone(model))
    with Running(drawn, tmp_path) as server:
        assert server.files() == []


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
