"""The routes that 3D Slicer's MONAI Label extension calls, so that a radiologist can segment from there.

What the extension sends and expects was read from Project-MONAI/MONAILabel: plugins/slicer/MONAILabel
(MONAILabel.py, MONAILabelLib/client.py) and monailabel/endpoints. It creates a session (PUT /session/ with the image),
asks for inference (POST /infer/MODEL?image=…&session_id=…) and reads a multipart answer with `params` and one file.
There is no training, no active learning and no store of labels here: those routes answer 404, which the extension takes
for "not there".
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from decaseg import __version__
from decaseg.serving.jobs import Job
from decaseg.serving.refusal import Refusal
from decaseg.serving.routes import LABELS_NAME, NIFTI, finished, label_bytes, labels_headers
from decaseg.serving.sessions import Session

if TYPE_CHECKING:
    from decaseg.serving.app import Service

TAGS = ["3D Slicer"]
OUTPUTS = ("", "all", "image", "json")
LOGIN_BYTES = 8192


def make_router(service: Service) -> APIRouter:
    router = APIRouter(tags=list(TAGS))
    _info_routes(router, service)
    _session_routes(router, service)
    _infer_route(router, service)
    _login_routes(router, service)
    return router


def label_names(labels: dict[str, int]) -> dict[str, int]:
    """Name to value with no value left out between 1 and the largest.

    Slicer takes the n-th name for the segment of value n (vtkSlicerSegmentationsModuleLogic's
    ImportLabelmapToSegmentationNode), so a gap would shift every name behind it.
    """
    by_value = {value: name for name, value in labels.items()}
    return {by_value.get(value, f"unused {value}"): value for value in range(1, max(by_value, default=0) + 1)}


def _info_routes(router: APIRouter, service: Service) -> None:
    @router.get("/info/", summary="Name, labels and models, as the extension wants them")
    @router.get("/info", include_in_schema=False)
    async def info() -> JSONResponse:
        facts = service.model.facts
        names = label_names(facts["labels"])
        channels = ", ".join(facts["channels"])
        model = {
            "type": "segmentation",
            "labels": names,
            "dimension": 3,
            "description": f"decaseg, trained on {channels}. For research; not a medical device.",
            "config": {},
        }
        return JSONResponse({
            "name": f"decaseg {facts['name']}",
            "description": model["description"],
            "version": __version__,
            "labels": list(names),
            "models": {facts["name"]: model},
            "trainers": {},
            "strategies": {},
            "scoring": {},
            "train_stats": {},
            "datastore": {"total": 0, "completed": 0},
        })  # fmt: skip

    @router.get("/logs/", summary="The last lines of the log", response_class=PlainTextResponse)
    @router.get("/logs", include_in_schema=False)
    async def logs() -> PlainTextResponse:
        return PlainTextResponse("\n".join(service.log.lines) + "\n")

    @router.get("/datastore/", summary="Empty: images are kept for a session only")
    @router.get("/datastore", include_in_schema=False)
    async def datastore(output: str = "stats") -> JSONResponse:
        return JSONResponse({"name": "decaseg", "description": "", "objects": {}} if output == "all" else
                            {"total": 0, "completed": 0})  # fmt: skip


def _session_routes(router: APIRouter, service: Service) -> None:
    async def keep(request: Request, name: str | None = None) -> Session:
        service.jobs.refuse_if_full()
        return service.sessions.add(await service.intake.receive(request), name)

    @router.put("/session/", summary="Upload an image for later")
    @router.put("/session", include_in_schema=False)
    async def create(request: Request) -> JSONResponse:
        session = await keep(request)
        return JSONResponse({"session_id": session.id, "session_info": _session_info(service, session)})

    @router.get("/session/{session_id}", summary="Is the image still there?")
    async def get(session_id: str) -> JSONResponse:
        if (session := service.sessions.get(session_id)) is None:
            raise Refusal(404, "no_such_session", "there is no such session; upload the image again")
        return JSONResponse(_session_info(service, session))

    @router.delete("/session/{session_id}", summary="Remove the image")
    async def delete(session_id: str) -> JSONResponse:
        if not service.sessions.remove(session_id):
            raise Refusal(404, "no_such_session", "there is no such session")
        return JSONResponse({})

    @router.put("/datastore/", summary="Upload an image under a name, for as long as a session lasts")
    @router.put("/datastore", include_in_schema=False)
    async def upload(request: Request, image: str) -> JSONResponse:
        await keep(request, _image_key(image))
        return JSONResponse({"image": image})


def _image_key(image: str) -> str:
    """A client's name for an image, as a key in memory that no session's id can equal."""
    return f"image:{image[:256]}"


def _session_info(service: Service, session: Session) -> dict[str, Any]:
    return {"name": session.id, "image": "", "meta": {}, "expiry": int(service.limits.kept_s)}


def _infer_route(router: APIRouter, service: Service) -> None:
    @router.post("/infer/{model}", summary="Segment an uploaded image, or one in the form", response_class=Response)
    async def infer(request: Request, model: str, image: str = "", session_id: str = "", output: str = "") -> Response:
        """The answer is multipart/form-data with `params` (JSON) and the label map; or one of them, by `output`."""
        if model != service.model.facts["name"]:
            raise Refusal(404, "no_such_model", "there is no such model; see /info/")
        if output not in OUTPUTS:
            raise Refusal(422, "bad_parameter", "output is all, image or json")
        service.jobs.refuse_if_full()
        upload = await service.intake.receive(request, optional="file")
        session = service.sessions.get(session_id or _image_key(image))
        if not upload.images and session is None:
            service.spool.remove(upload.folder)
            raise Refusal(404, "no_such_session", "there is no such image; upload it again")
        if not upload.images and session is not None:
            session.uses += 1
        else:
            session = None
        try:
            job = service.jobs.submit(session.upload.images if session else upload.images, upload.folder)
        except Refusal:
            service.spool.remove(upload.folder)
            raise
        else:
            return await _answer(service, job, request, output)
        finally:
            if session is not None:
                service.sessions.release(session)


async def _answer(service: Service, job: Job, request: Request, output: str) -> Response:
    try:
        await finished(service, job, request)
        params = {"label_names": label_names(service.model.facts["labels"]), "volumes_ml": job.volumes_ml,
                  "latencies": job.seconds}  # fmt: skip
        if output == "json":
            return JSONResponse(params)
        data = await label_bytes(service, job)
        if output == "image":
            return Response(data, media_type=NIFTI, headers=labels_headers(job))
        return _multipart(json.dumps(params).encode(), data)
    finally:
        service.jobs.remove(job)


def _multipart(params: bytes, labels: bytes) -> Response:
    boundary = secrets.token_hex(16)
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="%s"%s\r\nContent-Type: %s\r\n\r\n'
    body = b"".join([
        (head % ("params", "", "application/json")).encode(), params, b"\r\n",
        (head % ("image", f'; filename="{LABELS_NAME}"', NIFTI)).encode(), labels, b"\r\n",
        f"--{boundary}--\r\n".encode(),
    ])  # fmt: skip
    return Response(body, media_type=f"multipart/form-data; boundary={boundary}")


def _login_routes(router: APIRouter, service: Service) -> None:
    """Newer extensions log in with name and password; the server's token is the password of any name."""

    @router.get("/auth/", summary="Is a token needed?")
    @router.get("/auth", include_in_schema=False)
    async def enabled() -> JSONResponse:
        return JSONResponse({"enabled": service.access.token is not None, "client_id": "decaseg", "realm": "decaseg"})

    @router.post("/auth/token", summary="The token for the token: log in with it as the password")
    async def login(request: Request) -> JSONResponse:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > LOGIN_BYTES:
                raise Refusal(413, "too_large", "the form is too long")
        password = parse_qs(body.decode("utf-8", "replace")).get("password", [""])[0]
        if service.access.token is not None and not service.access.is_password(password):
            raise Refusal(401, "unauthorized", "the password is not this server's token")
        token = None if service.access.token is None else password
        return JSONResponse({"access_token": token, "token_type": "bearer"})

    @router.get("/auth/token/valid", summary="Is the token that was sent right?")
    async def valid() -> JSONResponse:
        return JSONResponse({"username": "decaseg", "name": "decaseg", "roles": ["user"]})
