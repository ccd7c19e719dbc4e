"""The pages for people: plain files of ours, with nothing from the internet and no script inside the HTML."""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter, Response

from decaseg.serving.refusal import Refusal

FILES = {
    "/": ("index.html", "text/html"),
    "/docs": ("docs.html", "text/html"),
    "/pages/index.js": ("index.js", "text/javascript"),
    "/pages/docs.js": ("docs.js", "text/javascript"),
    "/pages/style.css": ("style.css", "text/css"),
}


def make_router() -> APIRouter:
    """Routes of the files named above, read once; no path of a request ever becomes a file's."""
    router = APIRouter(include_in_schema=False)
    read = {path: (resources.files(__name__).joinpath(name).read_bytes(), kind) for path, (name, kind) in FILES.items()}

    async def page(path: str) -> Response:
        if path not in read:
            raise Refusal(404, "not_found", "there is nothing at this address; see /docs")
        data, kind = read[path]
        return Response(data, media_type=f"{kind}; charset=utf-8")

    @router.get("/")
    async def index() -> Response:
        return await page("/")

    @router.get("/docs")
    async def docs() -> Response:
        return await page("/docs")

    @router.get("/pages/{name}")
    async def asset(name: str) -> Response:
        return await page(f"/pages/{name}")

    return router
