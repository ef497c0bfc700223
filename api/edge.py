"""Around every request: an id, limits, headers, counting, and a last resort."""

import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import Metrics
from api.problems import MEDIA_TYPE, Problem, problem_body
from tracking.store.acting import NOBODY, act

logger = logging.getLogger(__name__)

# A fence with ten thousand vertices is half of it.
MAX_BODY_BYTES = 1_048_576
# What carries many fences may be larger.
MAX_BULK_BYTES = 67_108_864
_BULK = {("PUT", "/v1/fences"), ("POST", "/v1/fences/import"), ("POST", "/v1/fences/preview")}
# An id from outside goes into logs, so it may not bring lines or markup.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class _TooLargeError(Exception):
    pass


class Edge:
    """ASGI middleware around everything else; websockets pass untouched."""

    def __init__(self, app: ASGIApp, metrics: Metrics, content_security_policy: str) -> None:
        self._app = app
        self._metrics = metrics
        self._headers = {
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Content-Security-Policy": content_security_policy,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, whatever happens in it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # A pipelined request is served in the context of the one before it.
        act(NOBODY)
        exchange = _Exchange(scope, receive, send, self._headers)
        started = time.perf_counter()
        try:
            await exchange.run(self._app)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.latency_seconds.labels(route).observe(time.perf_counter() - started)
            self._metrics.requests.labels(route, scope["method"], exchange.status).inc()


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._headers = headers
        self._body_bytes = 0
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
            length = Headers(scope=self._scope).get("content-length", "0")
            if length.isdecimal() and int(length) > self._max_body_bytes:
                raise _TooLargeError  # noqa: TRY301 -- one answer for both ways to find out
            await app(self._scope, self._limited_receive, self._send_marked)
        except _TooLargeError:
            await self._refuse(Problem(413, f"a body has at most {self._max_body_bytes} bytes"))
        except Exception:
            logger.exception(
                "%s %s failed, request %s",
                self._scope["method"],
                self._scope["path"],
                self.request_id,
            )
            await self._refuse(Problem(500, "this is our fault; the log has the request id"))

    async def _refuse(self, problem: Problem) -> None:
        if self._started:
            return
        body = problem_body(problem, self.request_id)
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        await self._send_marked(
            {"type": "http.response.start", "status": problem.status, "headers": headers}
        )
        await self._send_marked({"type": "http.response.body", "body": body})

    async def _limited_receive(self) -> Message:
        message = await self._receive()
        self._body_bytes += len(message.get("body", b""))
        if self._body_bytes > self._max_body_bytes:
            raise _TooLargeError
        return message

    async def _send_marked(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.request_id
            for name, value in self._headers.items():
                headers.setdefault(name, value)
        await self._send(message)
