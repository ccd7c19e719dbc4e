"""The server under attack: it lives, answers 4xx, keeps nothing and tells nothing."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from decaseg.storage import nifti
from decaseg.volume import Volume
from tests.serving.mutants import MUTATIONS, form
from tests.serving.running import RAW, Running, until

KINDS = list(MUTATIONS)


def read_answer(connection) -> tuple[int, bytes]:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.read()


def raw(server, text: bytes) -> int:
    with server.connect() as connection:
        connection.sendall(text)
        return read_answer(connection)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_uploads_get_4xx(server, image, kind):
    rng = np.random.default_rng(KINDS.index(kind))
    for number in range(3 if kind == "bomb" else 12):
        body, headers = MUTATIONS[kind](image, rng), RAW
        if number % 3 == 2:
            body, sort = form(body, rng)
            headers = {"Content-Type": sort}
        before = server.processor_s()
        status, _, answer = server.ask("POST", "/predict", body, headers)
        assert status == 200 or 400 <= status < 500, (status, answer)
        assert server.processor_s() - before < 5
        assert b"spool" not in answer and b"/tmp" not in answer
    assert server.predict(image)[0] == 200
    assert server.files() == [] and server.metrics()["decaseg_jobs_kept"] == 0


@pytest.mark.parametrize("way", ["declared", "chunked", "lying"])
def test_uploads_beyond_the_limit_get_413_and_are_not_waited_for(server, way):
    if way == "declared":
        status = server.ask("POST", "/predict", bytes(3 << 20), RAW)[0]
    elif way == "chunked":
        status = server.ask("POST", "/predict", (os.urandom(1 << 16) for _ in range(100)), RAW)[0]
    else:  # says 4 GB and sends nothing
        status = raw(server, b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000000\r\n\r\n")
    assert status == 413
    assert server.files() == []


def test_a_length_that_is_too_small_harms_nobody(server, image):
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(image) // 2}\r\n\r\n"
    assert raw(server, head.encode() + image) == 422


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n", 400),
        (
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 400),
        (b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nContent-Length: 0\r\n\r\n", 403),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /pages/..%2f..%2fserver.py HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /pages/%2e%2e/server.py HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /jobs/..%2f..%2fx/labels HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"BREW /predict HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    ],
)  # fmt: skip
def test_requests_that_cannot_be(server, text, wanted):
    with server.connect() as connection:
        connection.sendall(text)
        status, body = read_answer(connection)
    assert status == wanted
    assert set(json.loads(body)) == {"error", "detail"}


def test_hostile_names_stay_names(server, image, tmp_path):
    before = set(server.spool.parent.rglob("*"))
    for name in ("../../../x.nii.gz", "/etc/cron.d/x", "x\x00.nii.gz", "..", "a" * 5000):
        body = (
            b'--b\r\nContent-Disposition: form-data; name="../y"; filename="' + name.encode() + b'"\r\n\r\n'
            + image + b"\r\n--b--\r\n"
        )  # fmt: skip
        status, _, answer = server.ask("POST", "/predict", body, {"Content-Type": "multipart/form-data; boundary=b"})
        assert status == (200 if len(name) < 5000 else 400), answer
    assert set(server.spool.parent.rglob("*")) == before


def test_the_log_and_the_answers_tell_nothing_of_a_patient(server, image):
    body = b'--b\r\nContent-Disposition: form-data; name="Doe"; filename="Doe^John.nii.gz"\r\n\r\n' + image
    headers = {"Content-Type": "multipart/form-data; boundary=b", "User-Agent": "Doe's"}
    server.ask("POST", "/predict", body + b"\r\n--b--\r\n", headers)
    server.ask("POST", "/predict?Doe=John", gzip.compress(gzip.decompress(image)[:-9]), RAW)
    server.ask("GET", "/jobs/Doe-John")
    server.ask("GET", "/Doe/John")
    assert server.ask("POST", "/infer/Doe?image=Doe", b"", {})[0] == 404
    log = (
        server.errors.read_text() + server.ask("GET", "/metrics")[2].decode() + server.ask("GET", "/logs/")[2].decode()
    )
    assert "Doe" not in log and "secret" not in log and "John" not in log
    assert {"worker_ready", "started", "request", "job"} <= {event["event"] for event in server.events()}


def test_a_full_queue_answers_429_at_once_and_everybody_else_is_served(server, image):
    with ThreadPoolExecutor(64) as pool:
        with server.standing_still():
            asked = [pool.submit(server.predict, image)]
            until(lambda: server.metrics()["decaseg_jobs_running"])
            asked += [pool.submit(server.predict, image) for _ in range(63)]
            until(lambda: sum(one.done() for one in asked) == 59)  # while nothing is predicted
        answers = [one.result() for one in asked]
    assert sorted(status for status, *_ in answers) == 5 * [200] + 59 * [429]  # one runs, four wait
    assert all(int(headers["retry-after"]) > 0 for status, headers, _ in answers if status == 429)
    assert len({data for status, _, data in answers if status == 200}) == 1
    assert server.ask("GET", "/ready")[0] == 200


def test_a_model_that_crashes_is_back_and_the_job_is_done_again(slow, image, large):
    """How soon it is back: benchmarks/faults."""

    def back() -> bool:
        assert slow.ask("GET", "/health")[0] == 200
        return slow.metrics()["decaseg_worker_starts_total"] == 2 and slow.ask("GET", "/ready")[0] == 200

    job = slow.submit(large)
    slow.wait(job, "running")
    os.kill(slow.model_pid(), 11)
    until(back)
    assert slow.wait(job, "running")["state"] == "running"
    os.kill(slow.model_pid(), 11)
    ended = slow.wait(job, "failed")
    assert ended["error"] == "worker_died" and "twice" in ended["detail"]
    status, _, _ = slow.predict(image)  # waits for the third process
    assert status == 200
    assert slow.metrics()["decaseg_worker_starts_total"] == 3


def test_a_model_that_is_refused_memory_is_replaced_and_later_images_are_served(slow, image, tmp_path):
    """OpenVINO's caches keep what failed for want of memory, so the process cannot go on."""
    assert slow.predict(image)[0] == 200
    model, path = slow.model_pid(), tmp_path / "a.nii.gz"
    lines = Path(f"/proc/{model}/status").read_text().splitlines()
    now = next(int(line.split()[1]) for line in lines if line.startswith("VmSize")) << 10
    most = now + (24 << 20)  # room for the image's 16 MiB, not for 64 as float32
    resource.prlimit(model, resource.RLIMIT_AS, (most, most))
    nifti.write(path, Volume.of(np.zeros((1, 256, 256, 256), np.uint8)))
    status, _, answer = slow.predict(path.read_bytes())
    assert status == 413 and json.loads(answer)["error"] == "too_large", answer
    assert slow.predict(image)[0] == 200 and slow.model_pid() != model
    assert slow.files() == []


def drip(server, head: bytes, cut: list[float], count: int) -> None:
    """`count` connections that send `head` and then a byte a second; notes when each was cut."""
    started = time.monotonic()
    open_ones = []
    for _ in range(count):
        connection = server.connect()
        connection.sendall(head)
        connection.setblocking(False)
        open_ones.append(connection)
    while open_ones and time.monotonic() - started < 120:
        time.sleep(1)
        for connection in list(open_ones):
            try:
                connection.send(b"a")
                if connection.recv(1000) == b"":
                    raise ConnectionResetError
            except BlockingIOError:
                continue
            except OSError:
                cut.append(time.monotonic() - started)
                open_ones.remove(connection)
                connection.close()
    for connection in open_ones:
        connection.close()


def test_slow_clients_are_cut_and_a_good_one_does_not_wait_for_them(drawn, image, tmp_path):
    with Running(drawn, tmp_path / "s", "--queue", 4) as server:
        cut: list[float] = []
        heads = (
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nX: ",
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
        )
        before = server.descriptors()
        threads = [threading.Thread(target=drip, args=(server, head, cut, 40)) for head in heads]
        for thread in threads:
            thread.start()
        until(lambda: server.descriptors() >= before + 120)
        for _ in range(10):
            assert server.predict(image)[0] == 200
        assert not cut, "a good client was answered only when slow ones were cut"
        for thread in threads:
            thread.join()
        assert len(cut) == 120 and max(cut) < 60
        assert server.files() == []
