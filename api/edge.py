"""Around every request: an id, limits, headers, counting, and a last resort."""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.conventions.problems import MEDIA_TYPE, Problem, problem_body
from api.identity.gate import Gate, address_of
from api.metrics import Metrics
from tracking.store.acting import NOBODY, act

logger = logging.getLogger(__name__)

# A fence with ten thousand vertices is half of it.
MAX_BODY_BYTES = 1_048_576
# What carries many fences may be larger.
MAX_BULK_BYTES = 67_108_864
_BULK = {
    ("PUT", "/v1/fences"),
    ("POST", "/v1/fences/import"),
    ("POST", "/v1/fences/preview"),
    ("POST", "/v1/backfill"),
}
# A body may take so long, and longer as far as it comes at this pace: slower is holding a place.
_BODY_WITHIN_S = 20.0
_BODY_BYTES_PER_S = 16_384
# An id from outside goes into logs, so it may not bring lines or markup.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# As the feed closes a socket whose credential is no good.
_UNAUTHORIZED = 4401
_TRY_AGAIN_LATER = 1013


class Edge:
    """ASGI middleware around everything else. `headers` are on every answer that has no own."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, gate: Gate, headers: Mapping[str, str]
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._gate = gate
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or socket, whatever happens in it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        # Tasks inherit: that of a pipelined request, for one, from the request before.
        act(NOBODY)
        client = scope.get("client")
        scope["client"] = (address_of(client[0]), client[1]) if client else ("", 0)
        if scope["type"] == "websocket":
            await self._serve_socket(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._gate, self._headers)
        started = time.perf_counter()
        try:
            await exchange.run(self._app)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.latency_seconds.labels(route).observe(time.perf_counter() - started)
            self._metrics.requests.labels(route, scope["method"], exchange.status).inc()

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watched(message: Message) -> None:
            if message["type"] == "websocket.close" and message.get("code") == _UNAUTHORIZED:
                self._gate.failed(scope)
            await send(message)

        try:
            self._gate.enter(scope)
        except Problem as exc:
            # Before it is accepted this is a 403 to the client; why is in no place it could read.
            logger.info("a socket of %s is refused: %s", scope["client"][0], exc)
            await receive()
            await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER, "reason": exc.detail})
            return
        await self._app(scope, receive, watched)


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, gate: Gate, headers: Mapping[str, str]
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._gate = gate
        self._headers = headers
        self._body_bytes = 0
        self._body_ended = False
        self._started_at = asyncio.get_running_loop().time()
        bulk = (scope["method"], scope["path"]) in _BULK
        self._max_body_bytes = MAX_BULK_BYTES if bulk else MAX_BODY_BYTES
        given = Headers(scope=scope).get("x-request-id", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        # 499 as nginx writes it: the client left before there was an answer.
        self.status = 499
        self._started = False
        scope.setdefault("state", {})["request_id"] = self.request_id

    async def run(self, app: ASGIApp) -> None:
        """Answer, with a problem where the application has no answer."""
        try:
            self._gate.enter(self._scope)
            length = Headers(scope=self._scope).get("content-length", "0")
            if length.isdecimal() and int(length) > self._max_body_bytes:
                raise self._too_large()  # noqa: TRY301 -- one answer for both ways to find out
            await app(self._scope, self._limited_receive, self._send_marked)
        except Problem as exc:
            await self._refuse(exc)
        except Exception:
            logger.exception(
                "%s %s failed, request %s",
                self._scope["method"],
                self._scope["path"],
                self.request_id,
            )
            await self._refuse(Problem(500, "this is our fault; the log has the request id"))

    def _too_large(self) -> Problem:
        return Problem(413, f"a body has at most {self._max_body_bytes} bytes")

    async def _refuse(self, problem: Problem) -> None:
        if self._started:
            return
        body = problem_body(problem, self.request_id)
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            *((name.lower().encode(), value.encode()) for name, value in problem.headers.items()),
        ]
        await self._send_marked(
            {"type": "http.response.start", "status": problem.status, "headers": headers}
        )
        await self._send_marked({"type": "http.response.body", "body": body})

    async def _limited_receive(self) -> Message:
        if self._body_ended:
            return await self._receive()
        allowed_s = _BODY_WITHIN_S + self._body_bytes / _BODY_BYTES_PER_S
        try:
            async with asyncio.timeout_at(self._started_at + allowed_s):
                message = await self._receive()
        except TimeoutError:
            # What is still to come belongs to this request: the connection cannot go on.
            raise Problem(
                408, "the body came too slowly", headers={"Connection": "close"}
            ) from None
        self._body_ended = not message.get("more_body", False)
        self._body_bytes += len(message.get("body", b""))
        if self._body_bytes > self._max_body_bytes:
            raise self._too_large()
        return message

    async def _send_marked(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            self.status = message["status"]
            if self.status == 401:
                self._gate.failed(self._scope)
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.request_id
            for name, value in self._headers.items():
                headers.setdefault(name, value)
            for name, value in self._gate.headers(self._scope).items():
                headers[name] = value
            if self._scope["path"].startswith("/v1/"):
                headers.setdefault("Cache-Control", "no-store")
        await self._send(message)
