"""The routes of decaseg's own API: predict at once, or as a job; health, readiness, metrics."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from decaseg.serving.jobs import ENDED, Job
from decaseg.serving.refusal import Refusal

if TYPE_CHECKING:
    from decaseg.serving.app import Service

NIFTI = "application/gzip"
LABELS_NAME = "labels.nii.gz"
OUTPUTS = ("labels", "volumes")
IMAGE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A NIfTI image (.nii or .nii.gz) as it is; or a form with one 4D file, or a file a channel in "
        "the model's order (or in parts named after the channels). File names are ignored.",
        "content": {
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary"},
                "example": "curl --data-binary @patient.nii.gz -H 'Content-Type: application/octet-stream' "
                "-o labels.nii.gz http://127.0.0.1:8000/predict",
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"image": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                },
                "example": "curl -F FLAIR=@flair.nii.gz -F T1w=@t1.nii.gz -o labels.nii.gz http://127.0.0.1:8000/predict",
            },
        },
    }
}
VOLUMES_EXAMPLE = {
    "volumes_ml": {"anterior": 1.512, "posterior": 1.204},
    "labels": {"1": "anterior", "2": "posterior"},
    "warnings": [],
    "seconds": {"read": 0.01, "prepare": 0.02, "network": 0.4, "restore": 0.01, "write": 0.01},
}
JOB_EXAMPLE = {
    "id": "0u1cN0tAreaLiDbutAsLongAs",
    "state": "running",
    "position": 0,
    "stage": "network",
    "windows": {"done": 3, "total": 12},
    "volumes_ml": {},
    "warnings": [],
    "error": None,
    "detail": None,
}
ERROR = {"content": {"application/json": {"example": {"error": "too_large", "detail": "the upload is larger than …"}}}}
Responses = dict[int | str, dict[str, Any]]
REFUSED: Responses = {
    401: {"description": "No token, or a wrong one", **ERROR},
    408: {"description": "The upload came too slowly", **ERROR},
    413: {"description": "Too large: as sent, as inflated, or for the memory", **ERROR},
    422: {"description": "No sound NIfTI, or not what the model was made for", **ERROR},
    429: {"description": "The queue is full; Retry-After says when to try again", **ERROR},
    503: {"description": "Shutting down, or the model is not ready", **ERROR},
}


def example(description: str, value: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"example": value}}}


def binary(description: str) -> dict[str, Any]:
    return {"description": description, "content": {NIFTI: {"schema": {"type": "string", "format": "binary"}}}}


def make_router(service: Service) -> APIRouter:
    router = APIRouter()
    _predict_routes(router, service)
    _job_routes(router, service)
    _state_routes(router, service)
    return router


async def finished(service: Service, job: Job, request: Request | None) -> None:
    """Waits for the job's end; cancels it where the client goes away. Refusal where there is no result."""
    ended = asyncio.ensure_future(job.finished.wait())
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait([ended, gone], return_when=asyncio.FIRST_COMPLETED)
        if not job.finished.is_set():
            service.jobs.remove(job)
            raise Refusal(499, "client_gone", "the client went away")
    except asyncio.CancelledError:
        service.jobs.remove(job)
        raise
    finally:
        ended.cancel()
        gone.cancel()
    if job.refusal is not None:
        raise job.refusal


async def _gone(request: Request | None) -> None:
    if request is None:
        await asyncio.Event().wait()
    else:
        while (await request.receive())["type"] != "http.disconnect":
            await asyncio.sleep(0)


def result(service: Service, job: Job) -> dict[str, Any]:
    """What is said about a finished job's label map."""
    labels = {str(value): name for name, value in service.model.facts["labels"].items()}
    return {"volumes_ml": job.volumes_ml, "labels": labels, "warnings": job.warnings, "seconds": job.seconds}


def describe(service: Service, job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "state": job.state,
        "position": service.jobs.position(job),
        "stage": job.stage,
        "windows": {"done": job.windows[0], "total": job.windows[1]},
        "volumes_ml": job.volumes_ml,
        "warnings": job.warnings,
        "error": job.refusal.code if job.refusal else None,
        "detail": job.refusal.sentence if job.refusal else None,
    }


async def submit(service: Service, request: Request) -> Job:
    """Reads the upload and queues it; Refusal before anything is read where the queue is full."""
    service.jobs.refuse_if_full()
    upload = await service.intake.receive(request)
    try:
        return service.jobs.submit(upload.images, upload.folder)
    except Refusal:
        service.spool.remove(upload.folder)
        raise


def _predict_routes(router: APIRouter, service: Service) -> None:
    @router.post(
        "/predict",
        tags=["predict"],
        summary="An image in, its label map out",
        openapi_extra=IMAGE_BODY,
        response_class=Response,
        responses={200: binary("The label map, on the image's grid; the header X-Volumes-Ml has volumes"), **REFUSED},
    )
    async def predict(request: Request, output: str = "labels") -> Response:
        """Waits for the result. `output`: labels (the label map), or volumes (JSON). Nothing is kept."""
        if output not in OUTPUTS:
            raise Refusal(422, "bad_parameter", f"output is one of {', '.join(OUTPUTS)}")
        job = await submit(service, request)
        try:
            await finished(service, job, request)
            if output == "volumes":
                return JSONResponse(result(service, job))
            return Response(await label_bytes(service, job), media_type=NIFTI, headers=labels_headers(job))
        finally:
            service.jobs.remove(job)


async def label_bytes(service: Service, job: Job) -> bytes:
    """The label map's file; Refusal (404) where the job was deleted meanwhile."""
    try:
        data: bytes = await service.intake.on_thread(job.labels.read_bytes)
    except FileNotFoundError:
        raise Refusal(404, "no_such_job", "the job was deleted") from None
    return data


def labels_headers(job: Job) -> dict[str, str]:
    return {
        "content-disposition": f'attachment; filename="{LABELS_NAME}"',
        "x-volumes-ml": json.dumps(job.volumes_ml, ensure_ascii=True),
    }


def _job_routes(router: APIRouter, service: Service) -> None:
    missing: Responses = {404: {"description": "No such job", **ERROR}, 401: REFUSED[401]}
    unfinished: Responses = {409: {"description": "The job has no result (yet)", **ERROR}, **missing}

    @router.post(
        "/jobs",
        status_code=202,
        tags=["jobs"],
        summary="Send an image; the answer is the job's id",
        openapi_extra=IMAGE_BODY,
        responses={202: example("Queued", {**JOB_EXAMPLE, "state": "queued"}), **REFUSED},
    )
    async def send(request: Request) -> JSONResponse:
        job = await submit(service, request)
        return JSONResponse(describe(service, job), 202, {"location": f"/jobs/{job.id}"})

    @router.get("/jobs/{job_id}", tags=["jobs"], summary="State and progress",
                responses={200: example("The job", JOB_EXAMPLE), **missing})  # fmt: skip
    async def state(job_id: str) -> JSONResponse:
        """`state` is queued, running, done, failed or cancelled; `windows` are the network's pieces of the image."""
        return JSONResponse(describe(service, service.jobs.get(job_id)))

    @router.get("/jobs/{job_id}/labels", tags=["jobs"], summary="The label map", response_class=Response,
                responses={200: binary("The label map, on the image's own grid"), **unfinished})  # fmt: skip
    async def labels(job_id: str) -> Response:
        job = _done(service, job_id)
        return Response(await label_bytes(service, job), media_type=NIFTI, headers=labels_headers(job))

    @router.get("/jobs/{job_id}/volumes", tags=["jobs"], summary="Volumes in ml",
                responses={200: example("Millilitres of each structure", VOLUMES_EXAMPLE), **unfinished})  # fmt: skip
    async def volumes(job_id: str) -> JSONResponse:
        return JSONResponse(result(service, _done(service, job_id)))

    @router.post("/jobs/{job_id}/cancel", tags=["jobs"], summary="Stop it, at the next window where it runs",
                 responses={200: example("The job", {**JOB_EXAMPLE, "state": "cancelled"}), **missing})  # fmt: skip
    async def cancel(job_id: str) -> JSONResponse:
        job = service.jobs.get(job_id)
        if job.state not in ENDED:
            service.jobs.cancel(job)
            await job.finished.wait()
        return JSONResponse(describe(service, job))

    @router.delete("/jobs/{job_id}", status_code=204, tags=["jobs"], summary="Stop and forget it, files included",
                   responses=missing, response_class=Response)  # fmt: skip
    async def delete(job_id: str) -> Response:
        service.jobs.remove(service.jobs.get(job_id))
        return Response(status_code=204)


def _done(service: Service, job_id: str) -> Job:
    job = service.jobs.get(job_id)
    if job.state not in ENDED:
        raise Refusal(409, "not_finished", f"the job is {job.state}; ask again later", 1)
    if job.refusal is not None:
        raise Refusal(409, job.refusal.code, job.refusal.sentence)
    return job


def _state_routes(router: APIRouter, service: Service) -> None:
    @router.get("/model", tags=["server"], summary="What the model is and what the server allows")
    async def model() -> JSONResponse:
        limits = service.limits
        allowed = {"upload_bytes": limits.upload_bytes, "image_bytes": limits.image_bytes, "side": limits.side,
                   "queue": limits.queue, "job_s": limits.job_s, "kept_s": limits.kept_s}  # fmt: skip
        return JSONResponse({**service.model.facts, "limits": allowed, "use": "research only; not a medical device"})

    @router.get("/health", tags=["server"], summary="Is the server alive?",
                responses={200: example("Alive", {"status": "alive"})})  # fmt: skip
    async def health() -> JSONResponse:
        return JSONResponse({"status": "alive"})

    readiness: Responses = {200: example("Yes", {"ready": True, "why": ""}), 503: {"description": "No", **ERROR}}

    @router.get("/ready", tags=["server"], summary="Would an image be taken now?", responses=readiness)
    async def ready() -> JSONResponse:
        jobs = service.jobs
        why = "shutting down" if jobs.closed else "" if jobs.model.ready.is_set() else "the model is not loaded"
        why = why or ("" if jobs.accepting else "the queue is full")
        return JSONResponse({"ready": not why, "why": why}, 503 if why else 200)

    @router.get("/metrics", tags=["server"], summary="Counters for Prometheus", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(service.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")
