import json

from decaseg.training.events import EventLog
from tests.storage.small_disk import small_disk


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_torn_by_a_kill_ends_before_the_next(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"event": "epoch", "tim')
    log = EventLog(path)
    log("end", loss=float("nan"), dice={"a": 0.1234567})
    log.close()
    torn, line = path.read_text().splitlines()
    assert torn == '{"event": "epoch", "tim'
    assert json.loads(line) | {"time": 0} == {"event": "end", "time": 0, "loss": None, "dice": {"a": 0.123457}}


def test_a_full_disk_makes_lines_wait_and_loses_none(tmp_path):
    heard = []
    with small_disk(tmp_path / "disk", 64) as disk:
        log = EventLog(disk / "log.jsonl", lambda event: heard.append(event["n"]))
        log("step", n=0)
        filler = disk / "filler"
        filler.write_bytes(bytes(40_000))
        for n in range(1, 400):
            log("step", n=n, words="x" * 60)
        assert len((disk / "log.jsonl").read_bytes()) < 30_000  # the disk was full
        filler.unlink()
        log("step", n=400)
        log.close()
        assert [event["n"] for event in read(disk / "log.jsonl")] == heard == list(range(401))
