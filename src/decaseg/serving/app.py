"""The web application: puts routes, gate and errors together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from decaseg import __version__
from decaseg.serving import pages, routes, slicer
from decaseg.serving.access import Access
from decaseg.serving.gate import Gate
from decaseg.serving.intake import Intake
from decaseg.serving.jobs import Jobs
from decaseg.serving.limits import Limits
from decaseg.serving.logs import EventLog
from decaseg.serving.metrics import Counters, resident_bytes
from decaseg.serving.refusal import Refusal
from decaseg.serving.sessions import Sessions
from decaseg.serving.spool import Spool
from decaseg.serving.supervisor import Supervisor

RESEARCH_ONLY = "For research; not a medical device."
NAMES = {404: "not_found", 405: "method_not_allowed"}
SENTENCES = {404: "there is nothing at this address; see /docs", 405: "this address is not asked with that method"}


@dataclass
class Service:
    """All that the routes share."""

    access: Access
    limits: Limits
    spool: Spool
    log: EventLog
    counters: Counters
    model: Supervisor
    jobs: Jobs
    intake: Intake
    sessions: Sessions
    connections: Any = field(default_factory=set)

    def metrics(self) -> str:
        gauges: dict[str, Any] = {
            "decaseg_queue_length": len(self.jobs.waiting),
            "decaseg_queue_limit": self.limits.queue,
            "decaseg_jobs_running": int(self.jobs.running is not None),
            "decaseg_jobs_kept": sum(job.ended is not None for job in self.jobs.jobs.values()),
            "decaseg_sessions": len(self.sessions),
            "decaseg_uploads_open": self.intake.open,
            "decaseg_spool_bytes": self.spool.bytes,
            "decaseg_connections": len(self.connections),
            "decaseg_ready": int(self.jobs.accepting),
            "decaseg_memory_bytes": {"server": resident_bytes(), "model": self.model.resident_bytes()},
        }
        return self.counters.text(gauges)


def make_app(service: Service) -> Gate:
    """The ASGI application."""
    app = FastAPI(
        title="decaseg",
        version=__version__,
        description=f"Segments 3D images with one model. {RESEARCH_ONLY}",
        docs_url=None,  # FastAPI's pages load scripts from the internet; ours is at /docs
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.include_router(routes.make_router(service))
    app.include_router(slicer.make_router(service))
    app.include_router(pages.make_router())
    app.add_exception_handler(Refusal, _refused(service.counters))
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    return Gate(app, service.access, service.log, service.counters)


def answer(refusal: Refusal) -> Response:
    return Response(refusal.body(), refusal.status, refusal.headers())


def _refused(counters: Counters) -> Any:
    async def handler(request: Request, refusal: Refusal) -> Response:
        counters.add("decaseg_refusals_total", code=refusal.code)
        return answer(refusal)

    return handler


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = NAMES.get(error.status_code, "bad_request")
    return answer(Refusal(error.status_code, code, SENTENCES.get(error.status_code, "the request cannot be answered")))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    where = ", ".join(sorted({str(one["loc"][-1]) for one in error.errors()}))
    return answer(Refusal(422, "bad_parameter", f"the request lacks or misuses: {where}; see /docs"))
