"""The application: which path is answered by what, and how a request comes to its caption."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from time import perf_counter, time
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ..command_line import InputError
from ..images import share_there
from ..runtimes.scores import Caption
from . import models, ollama, openai_chat, openai_responses, photoprism
from .asked import is_one_of_a_kind
from .errors import error_response
from .guard import ALIVE, Access, Guard
from .metrics import CONTENT_TYPE, OTHER, Measured, Metrics
from .service import Api, Service, Wanted

LARGEST_BODY = 32 * 1024**2  # bytes, of which a picture's file is three quarters
BODY_SECONDS = 30  # in which a body must have come
CUT_OFF = "X-Cut-Off"  # a header, as no API has a place for it: the share of the picture that its file holds
HUNG_UP = 499  # the status in figures; nobody gets it
Result = TypeVar("Result")
Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


APIS = {
    "/v1/chat/completions": Api(openai_chat.read, openai_chat.answer),
    "/v1/responses": Api(openai_responses.read, openai_responses.answer),
    "/api/generate": Api(ollama.read_generate, ollama.answer_generate),
    "/api/chat": Api(ollama.read_chat, ollama.answer_chat),
    "/api/v1/vision/caption": Api(photoprism.read, photoprism.answer),
}


def application(service: Service, access: Access) -> Starlette:
    """All of the server but its connections."""
    routes = [Route(path, _captioning(service, api), methods=["POST"]) for path, api in APIS.items()]
    routes += [
        Route("/v1/models", models.as_openai(service.model)),
        Route("/api/tags", models.as_ollama(service.model)),
        Route("/api/show", models.details(service.model), methods=["POST"]),
        Route("/metrics", _metrics(service.metrics)),
        Route(ALIVE, _alive),
    ]
    paths = {route.path for route in routes}
    middleware = [
        Middleware(Measured, metrics=service.metrics, label=lambda path: path if path in paths else OTHER),
        Middleware(Guard, access=access),
    ]
    handlers: dict[Any, Any] = {
        HTTPException: _refused,
        InputError: _input_error,
        ClientDisconnect: _hung_up,
        Exception: _failed,
    }
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)


def _captioning(service: Service, api: Api) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        created, started = time(), perf_counter()
        with service.place():
            body = await _read_body(request)
            wanted, caption = await _unless_hung_up(request, _caption(service, api, body))
        response = api.answer(wanted.asked, service.say(wanted, caption, created, perf_counter() - started))
        if (share := share_there(wanted.image)) < 1:
            response.headers[CUT_OFF] = str(round(share, 4))
            service.metrics.cut_off.inc()
        return response

    return endpoint


async def _read_body(request: Request) -> bytes:
    """A body as it comes. Raises HTTPException if it is too large, or takes too long, or is a form."""
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise HTTPException(415, "forms are not read here: send JSON")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LARGEST_BODY:
                    raise HTTPException(413, f"a request may have {LARGEST_BODY // 1024**2} MB: shrink the picture")
    except TimeoutError:
        raise HTTPException(408, f"a request's body must come within {BODY_SECONDS} seconds") from None
    return bytes(body)


async def _caption(service: Service, api: Api, body: bytes) -> tuple[Wanted, Caption]:
    """What a request wants, and its caption."""
    loop = asyncio.get_running_loop()
    wanted = await loop.run_in_executor(service.pool, service.prepare, api, body)
    alone = is_one_of_a_kind(wanted.decoding, wanted.asked.wishes)
    future = service.captions.submit(wanted.image, wanted.decoding, alone)
    try:
        return wanted, await asyncio.wrap_future(future)
    except InputError as error:
        if wanted.decoding.prompt == service.own.prompt:  # so that the request has no part in it
            raise HTTPException(500, str(error)) from error
        raise


async def _unless_hung_up(request: Request, work: Awaitable[Result]) -> Result:
    """What some work gives, unless the client hangs up: then it is cancelled. Raises ClientDisconnect in that case."""
    working, listening = asyncio.ensure_future(work), asyncio.ensure_future(_until_hung_up(request))
    try:
        await asyncio.wait({working, listening}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        working.cancel()
        listening.cancel()


async def _until_hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _metrics(metrics: Metrics) -> Endpoint:
    async def endpoint(_: Request) -> Response:
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    return endpoint


async def _alive(_: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _refused(request: Request, error: HTTPException) -> Response:
    return error_response(request.url.path, error.status_code, error.detail, error.headers)


async def _input_error(request: Request, error: InputError) -> Response:
    return error_response(request.url.path, 400, str(error))


async def _hung_up(_request: Request, _error: ClientDisconnect) -> Response:
    return Response(status_code=HUNG_UP)


async def _failed(request: Request, _error: Exception) -> Response:
    return error_response(request.url.path, 500, "the server failed: its log says why")
