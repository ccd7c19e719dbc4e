"""Counters in Prometheus' text format, version 0.0.4, written by hand: a dozen lines do it.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

HELP = {
    "decaseg_requests_total": ("counter", "Requests answered, by route, method and status."),
    "decaseg_request_seconds_total": ("counter", "Seconds spent on requests, by route."),
    "decaseg_uploaded_bytes_total": ("counter", "Bytes of uploads read."),
    "decaseg_refusals_total": ("counter", "Requests and jobs refused, by code."),
    "decaseg_jobs_total": ("counter", "Jobs ended, by outcome."),
    "decaseg_job_stage_seconds_total": ("counter", "Seconds of finished jobs, by stage."),
    "decaseg_worker_starts_total": ("counter", "Times that the model's process was started."),
    "decaseg_queue_length": ("gauge", "Jobs that wait."),
    "decaseg_queue_limit": ("gauge", "Jobs that may wait."),
    "decaseg_jobs_running": ("gauge", "Jobs that run."),
    "decaseg_jobs_kept": ("gauge", "Finished jobs whose results are kept."),
    "decaseg_sessions": ("gauge", "Images kept for later jobs."),
    "decaseg_uploads_open": ("gauge", "Uploads being read."),
    "decaseg_spool_bytes": ("gauge", "Bytes of images and results on disk."),
    "decaseg_connections": ("gauge", "Open connections."),
    "decaseg_ready": ("gauge", "1 where /ready says so."),
    "decaseg_memory_bytes": ("gauge", "Resident memory, by process."),
}


class Counters:
    """Sums by name and labels; only ever grow."""

    def __init__(self) -> None:
        self.values: dict[str, dict[tuple[tuple[str, str], ...], float]] = defaultdict(lambda: defaultdict(float))

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        self.values[name][tuple(sorted(labels.items()))] += amount

    def text(self, gauges: Mapping[str, float | Mapping[str, float]]) -> str:
        """All counters, and `gauges`: name to number, or to a number a process."""
        lines: list[str] = []
        for name, (kind, said) in HELP.items():
            lines += [f"# HELP {name} {said}", f"# TYPE {name} {kind}"]
            if kind == "counter":
                series = self.values.get(name, {(): 0.0} if name == "decaseg_worker_starts_total" else {})
                lines += [f"{name}{_labels(dict(labels))} {value:.10g}" for labels, value in sorted(series.items())]
                continue
            value = gauges.get(name, 0)
            if isinstance(value, Mapping):
                lines += [f"{name}{_labels({'process': key})} {number:.10g}" for key, number in value.items()]
            else:
                lines.append(f"{name} {value:.10g}")
        return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for value in labels.values())
    return "{" + ",".join(f'{name}="{value}"' for name, value in zip(labels, quoted, strict=True)) + "}"


def resident_bytes(pid: int | str = "self") -> int:
    """Of a process; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except (OSError, ValueError, IndexError):
        return 0
