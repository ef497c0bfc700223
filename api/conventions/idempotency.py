"""`Idempotency-Key`: a change that is sent again gets the answer it got, and happens once."""

import asyncio
import logging
import re
from hashlib import sha256

import msgspec
from fastapi import FastAPI, Request, Response
from starlette.datastructures import Headers

from api.conventions.problems import Problem
from api.services import Services, services_of
from tracking.access import Principal
from tracking.errors import StoreUnavailable
from tracking.seal import Seal
from tracking.store.idempotency import (
    Claim,
    Earlier,
    digest_of,
    give_up,
    hold,
    keep_answer,
    take,
)

logger = logging.getLogger(__name__)

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
_FIELD = HEADER.lower()
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_PURPOSE = "answer"
# Hashing more than this would be felt by whoever shares the event loop: 1 ms.
_BESIDE_BYTES = 1_048_576
# A larger answer is not kept; who asks again is told that the request was carried out.
_MAX_ANSWER_BYTES = 4_194_304
# Of the transport, of this one exchange, or of every answer: not part of what is repeated.
_OWN_HEADERS = {"content-length", "x-request-id"}


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """An answer as it is kept."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Replayed(Exception):  # noqa: N818 -- it takes the place of the answer, and is no error
    """The request was answered before; this is how."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class Attempt:
    """A request under its key, from when it may begin until its answer is known."""

    def __init__(self, services: Services, key: str, claim: Claim) -> None:
        self._pool = services.pool
        self._key = key
        self._claim = claim

    async def answered(self, status: int, headers: Headers, body: bytes | None) -> None:
        """Keep the answer, before it is sent; None for a body that was too long to see whole.

        A refusal that changed nothing is not kept: the same request may succeed the next time.
        """
        # What follows is not what the request wrote.
        hold(None)
        try:
            if status >= 400 and not self._claim.wrote:
                await self._pool.run(give_up, self._claim)
            elif status < 500 and body is not None and len(body) <= _MAX_ANSWER_BYTES:
                await self._pool.run(keep_answer, self._claim, self._sealed(status, headers, body))
        except StoreUnavailable as exc:
            # The key stays taken: who asks again is not answered, but nothing happens twice.
            logger.warning("an answer under an idempotency key was not kept: %s", exc)

    def _sealed(self, status: int, headers: Headers, body: bytes) -> bytes:
        kept = [(name, value) for name, value in headers.items() if name not in _OWN_HEADERS]
        # Under the key, which is not stored: an answer may hold a secret that is shown once.
        return Seal(self._key).close(_PURPOSE, msgspec.msgpack.encode(Answer(status, kept, body)))


async def begin(request: Request, principal: Principal) -> None:
    """Take the request's key, if it has one.

    Raises:
        Replayed: it was answered before.
        Problem: 409, its first attempt is running or its answer was lost; 422, the key is none, or
            was used for another request.
    """
    key = request.headers.get(_FIELD)
    if key is None:
        return
    if not _KEY.fullmatch(key):
        raise Problem(422, f"{HEADER}: give 1 to 255 visible ASCII characters", field=HEADER)
    services = services_of(request)
    # A user's name may change, and a key's too.
    who = f"user:{principal.user_id}" if principal.user_id else f"key:{principal.key_id}"
    claim = Claim(principal.tenant_id, who, digest_of(key))
    earlier = await services.pool.run(take, claim, await _fingerprint(request))
    if earlier is not None:
        raise _answer_to(earlier, key)
    hold(claim)
    request.state.attempt = Attempt(services, key, claim)


def install(app: FastAPI) -> None:
    """Have earlier answers told again."""
    app.add_exception_handler(Replayed, _on_replayed)


async def _fingerprint(request: Request) -> bytes:
    body = await request.body()
    head = f"{request.method} {request.url.path}?{request.url.query}\n".encode()

    def digest() -> bytes:
        return sha256(head + body).digest()

    return digest() if len(body) < _BESIDE_BYTES else await asyncio.to_thread(digest)


def _answer_to(earlier: Earlier, key: str) -> Exception:
    if not earlier.same_request:
        return Problem(422, f"{HEADER}: this key was used for another request", field=HEADER)
    if earlier.answer is not None:
        opened = Seal(key).open(_PURPOSE, earlier.answer)
        if opened is not None:
            return Replayed(msgspec.msgpack.decode(opened, type=Answer))
    if earlier.running:
        return Problem(
            409, "the first request under this key is still running", headers={"Retry-After": "1"}
        )
    return Problem(409, "this request was carried out, but its answer was lost: see what is there")


async def _on_replayed(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, Replayed)  # noqa: S101 -- registered for it alone
    answer = exc.answer
    response = Response(answer.body, answer.status)
    for name, value in [*answer.headers, (REPLAYED, "true")]:
        response.headers.append(name, value)
    return response
