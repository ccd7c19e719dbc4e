"""What a server allows: sizes, numbers and times."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20
HEAD_BYTES = 16384  # of a request's line and headers
HEADER_S = 10.0  # for a request's head, from the connection or the request before on
IDLE_S = 10.0  # without a byte of an upload
PACE_AFTER_S, PACE_BYTES_S = 10.0, 8192  # from then on, an upload's mean speed must be this
STALLED_S = 20.0  # for a client that takes nothing of its answer
CANCEL_S = 5.0  # for the model's process to stop at the next window, before it is killed
SILENCE_S = 30.0  # of the model's process, which says every second that it lives, before it is killed
RESTART_S = 60.0  # for a model's process that died, before jobs that wait for it are given up
CONNECTIONS = 600
UPLOADS = 400  # at a time: connections that send slowly must not keep the others out
FIELDS, FIELD_BYTES, PART_HEADER_BYTES = 32, 65536, 4096  # of a multipart form
GROWTH, SMALL_VOXELS = 64, 2**21  # an image may grow so many times, or to so many voxels, by resampling


@dataclass(frozen=True)
class Limits:
    """`upload_mib` as sent, `image_mib` as inflated; `side` voxels an axis; `job_s` a prediction's time.

    `queue` jobs may wait; `kept` finished ones (and as many sessions) are kept, for `kept_s`. `grace_s` is what a
    running job gets to finish at shutdown. ValueError names the option that is no such thing.
    """

    upload_mib: float = 512
    image_mib: float = 2048
    side: int = 4096
    files: int = 16
    queue: int = 8
    job_s: float = 600
    kept: int = 64
    kept_s: float = 900
    grace_s: float = 30

    def __post_init__(self) -> None:
        for name in ("upload_mib", "image_mib", "queue", "job_s", "kept_s", "grace_s"):
            if not 0 < getattr(self, name) < float("inf"):
                option = {"upload_mib": "max-upload", "image_mib": "max-image", "job_s": "time-limit",
                          "kept_s": "keep", "grace_s": "grace"}.get(name, name)  # fmt: skip
                raise ValueError(f"--{option} {getattr(self, name)}: must be above 0")

    @property
    def upload_bytes(self) -> int:
        return int(self.upload_mib * MIB)

    @property
    def image_bytes(self) -> int:
        return int(self.image_mib * MIB)

    @property
    def spool_bytes(self) -> int:
        """Of all files together: what is uploaded, waits, runs and is kept."""
        return (self.queue + 4) * self.upload_bytes
