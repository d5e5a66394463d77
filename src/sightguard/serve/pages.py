"""The playground: a page to try the server with. Its files lie in the package and are sent as they are.

The page has no right that another client has not: it asks the same routes, with the same keys. Besides its files it has two small routes: what
it needs to know of the server, which anybody may read, and how the bench's judge of refusals reads a text that it shows, which asks for a key
and is counted and logged as every request is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from sightguard.evaluate.judges import RefusalPhrases
from sightguard.serve.body import read_body
from sightguard.serve.handled import handled
from sightguard.serve.record import Record
from sightguard.serve.service import INSPECTOR, Service
from sightguard.serve.wire.errors import WireError
from sightguard.types import Response as Answer
from sightguard.types import Sample

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
PAGE = "index.html"
SCRIPTS = ("app.js", "answer.js", "chat.js", "gate.js", "pictures.js")
STYLE = "style.css"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_LONGEST = 64 * 2**10
READ = 4000
"""Characters of a text that the judge reads here; how an answer begins is enough for it."""


def mount(app: FastAPI, service: Service) -> None:
    """Serve the page at `/`, and what belongs to it below `/playground/`."""
    _file(app, "/", PAGE)
    for name in (*SCRIPTS, STYLE):
        _file(app, f"/playground/{name}", name)

    @app.get("/playground/settings.json", include_in_schema=False)
    async def settings() -> Response:
        known = service.settings
        told = {
            "model": service.engine.name,
            "guard": service.engine.guard.id,
            "inspector": INSPECTOR,
            "max_tokens": known.max_tokens,
            "max_images": known.max_images,
            "max_image_bytes": known.max_image_bytes,
            "key": service.keys is not None,
            "compare": known.compare,
        }
        return JSONResponse(told, headers=HEADERS)

    @app.post("/playground/outcome", include_in_schema=False)
    async def outcome(request: Request) -> Response:
        response = await handled(service, request, lambda record: _outcome(service, request, record))
        response.headers.update(HEADERS)
        return response


def _file(app: FastAPI, path: str, name: str) -> None:
    body = files("sightguard.serve").joinpath("playground", name).read_bytes()
    kind = f"{TYPES[name[name.rindex('.') :]]}; charset=utf-8"

    async def answer() -> Response:
        return Response(body, headers=HEADERS | {"Content-Type": kind})

    made: Callable[[], Awaitable[Response]] = answer
    app.add_api_route(path, made, methods=["GET", "HEAD"], include_in_schema=False)


async def _outcome(service: Service, request: Request, record: Record) -> Response:
    waiting, pool = service.waiting(record), service.threads.reading
    body = await read_body(request, _LONGEST, waiting, pool)
    text = body.get("text") if isinstance(body, dict) else None
    if not isinstance(text, str):
        raise WireError(400, "text: expected a string.", param="text", code="invalid_type")
    found = await pool.run(lambda: _judge()(Sample.of("?"), Answer(text[:READ])).outcome, waiting)
    record.ended("answered", 200)
    return JSONResponse({"outcome": found})


@cache
def _judge() -> RefusalPhrases:
    return RefusalPhrases.of("auto")
