"""What every answer has in common: sparse fields, ETags, links to the next page, compression.

One middleware, so that no route needs to think of it. It looks at answers that are sent whole;
what is streamed passes as it comes.
"""

import asyncio
import gzip
import re
from hashlib import blake2b

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.conventions.answers import JSON_TYPES
from api.conventions.fields import Fields
from api.conventions.problems import MEDIA_TYPE, Problem, problem_body
from api.document.route import operation_of
from tracking.store.idempotency import hold

# What fits one packet is not sent faster in less.
_GZIP_BYTES = 1_400
# Level 1 takes a third of the time of level 6 and a tenth more space.
_GZIP_LEVEL = 1
# Compressing more than this would be felt by whoever shares the event loop: 2 ms.
_BESIDE_BYTES = 262_144
_NEXT = re.compile(r'<\?(cursor=[^>]*)>; rel="next"')
_GZIP_REFUSED = re.compile(r"gzip\s*;\s*q=0(\.0*)?\s*(,|$)")


class Conventions:
    """ASGI middleware inside the edge; websockets pass untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # A pipelined request is served in the context of the one before it.
        hold(None)
        await self._app(scope, receive, _Finish(scope, send))


class _Finish:
    """Takes the messages of one answer, and sends it in its final form."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        start, self._start = self._start, None
        if start is None or message["type"] != "http.response.body":
            await self._send(message)
            return
        whole = not message.get("more_body", False)
        answer = _Answer(self._scope, start, message.get("body", b""))
        attempt = self._scope["state"].get("attempt")
        if attempt is not None:
            await attempt.answered(start["status"], answer.headers, answer.body if whole else None)
        if whole:
            await answer.finish()
            message = {"type": "http.response.body", "body": answer.body}
        await self._send(answer.start)
        await self._send(message)


class _Answer:
    """A whole answer, made what the conventions ask for."""

    def __init__(self, scope: Scope, start: Message, body: bytes) -> None:
        self.start = start
        self.body = body
        self.headers = MutableHeaders(scope=start)
        self._scope = scope
        self._request = Headers(scope=scope)

    async def finish(self) -> None:
        """Apply each convention that concerns it."""
        media_type = self.headers.get("content-type", "").partition(";")[0]
        if self.start["status"] < 300 and media_type in JSON_TYPES:
            if b"fields=" in self._scope["query_string"]:
                self._select(media_type)
            self._link()
            self._tag()
        if media_type in JSON_TYPES and len(self.body) >= _GZIP_BYTES:
            await self._compress()

    def _select(self, media_type: str) -> None:
        wanted = QueryParams(self._scope["query_string"]).get("fields")
        if wanted is None:
            return
        operation = operation_of(self._scope["route"].operation_id)
        try:
            fields = Fields.of(wanted, operation.answered_in(media_type))
        except Problem as problem:
            self.start["status"] = problem.status
            self.headers["content-type"] = MEDIA_TYPE
            self._replace(problem_body(problem, self._scope["state"]["request_id"]))
            return
        self._replace(fields.pick(self.body))

    def _link(self) -> None:
        """`page` knows the cursor; the rest of the address is known here."""
        found = _NEXT.fullmatch(self.headers.get("link", ""))
        if found is None:
            return
        query = self._scope["query_string"].decode("latin-1")
        kept = [part for part in query.split("&") if part and not part.startswith("cursor=")]
        address = f"{self._scope['path']}?{'&'.join([*kept, found[1]])}"
        self.headers["link"] = f'<{address}>; rel="next"'

    def _tag(self) -> None:
        """Tell the version, or else a digest of the body; 304 where the client has it."""
        tag = self.headers.get("etag")
        if self._scope["method"] != "GET":
            return
        if tag is None or tag.startswith("W/"):
            # A weak tag of a route is a version beside which there is something that moves.
            digest = blake2b(self.body, digest_size=9).hexdigest()
            tag = f'W/"{digest}"' if tag is None else f'{tag[:-1]}.{digest}"'
            self.headers["etag"] = tag
        self.headers.setdefault("cache-control", "private, no-cache")
        given = self._request.get("if-none-match")
        if given is not None and {"*", _opaque(tag)} & {_opaque(one) for one in given.split(",")}:
            self.start["status"] = 304
            del self.headers["content-type"]
            del self.headers["content-length"]
            self.body = b""

    async def _compress(self) -> None:
        self.headers.add_vary_header("Accept-Encoding")
        accepted = self._request.get("accept-encoding", "")
        if "gzip" not in accepted or _GZIP_REFUSED.search(accepted):
            return
        if len(self.body) < _BESIDE_BYTES:
            packed = _packed(self.body)
        else:
            packed = await asyncio.to_thread(_packed, self.body)
        self._replace(packed)
        self.headers["content-encoding"] = "gzip"
        tag = self.headers.get("etag")
        if tag is not None and not tag.startswith("W/"):
            # The same version, byte for byte something else.
            self.headers["etag"] = f"W/{tag}"

    def _replace(self, body: bytes) -> None:
        self.body = body
        self.headers["content-length"] = str(len(body))


def _opaque(tag: str) -> str:
    return tag.strip().removeprefix("W/")


def _packed(body: bytes) -> bytes:
    return gzip.compress(body, _GZIP_LEVEL, mtime=0)
