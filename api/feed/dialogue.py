"""The feed over a websocket: what the client says, and how the connection ends."""

import asyncio
import logging
from contextlib import suppress
from functools import partial

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.feed.messages import pong_message
from api.feed.requests import (
    Auth,
    Ping,
    Subscribe,
    Unsubscribe,
    auth_requests,
    explained,
    interest_of,
    requests,
)
from api.feed.session import (
    POLICY_VIOLATION,
    TRY_AGAIN_LATER,
    UNAUTHORIZED,
    Closing,
    Session,
    first_of,
)
from api.feed.socket import link_of
from api.identity.auth import REFUSED
from api.identity.credentials import Grant
from api.services import Services
from tracking.errors import ProviderUnavailable, StoreUnavailable

logger = logging.getLogger(__name__)

_AUTH_WITHIN_S = 5.0
_MAX_MISTAKES = 100
_CLOSE_WITHIN_S = 5.0


async def serve_socket(websocket: WebSocket, services: Services) -> None:
    """Serve one accepted websocket until either side ends it."""
    try:
        grant = await _authenticate(websocket, services)
        session = Session(services, grant, link_of(websocket))
        await session.run(partial(_converse, websocket))
    except* Closing as group:
        closing = first_of(group)
        await _close(websocket, closing.code, closing.reason)
    except* (StoreUnavailable, ProviderUnavailable) as group:
        logger.warning("a feed client is sent away: %s", first_of(group))
        await _close(websocket, TRY_AGAIN_LATER, "what the api needs is away, come back later")
    except* WebSocketDisconnect:
        pass


async def _converse(websocket: WebSocket, session: Session) -> None:
    mistakes = 0
    while True:
        text = await _receive(websocket)
        try:
            await _obey(requests.decode(text), session)
        except (msgspec.DecodeError, ValueError) as exc:
            mistakes += 1
            if mistakes > _MAX_MISTAKES:
                raise Closing(POLICY_VIOLATION, "too many messages not understood") from None
            await session.send(explained(text, exc))


async def _obey(request: Auth | Subscribe | Unsubscribe | Ping, session: Session) -> None:
    match request:
        case Ping():
            session.say(pong_message())
        case Unsubscribe(id=name):
            session.unsubscribe(name)
        case Subscribe(id=name):
            session.subscribe(name, interest_of(request.filter), request.since)
        case Auth(token=token):
            await session.renew(token)


async def _authenticate(websocket: WebSocket, services: Services) -> Grant:
    scheme, _, token = websocket.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        try:
            async with asyncio.timeout(_AUTH_WITHIN_S):
                token = auth_requests.decode(await _receive(websocket)).token
        except TimeoutError:
            raise Closing(UNAUTHORIZED, "no credential came in time") from None
        except msgspec.DecodeError:
            raise Closing(
                UNAUTHORIZED,
                'the first message must be {"op":"auth","token":"<key or access token>"}',
            ) from None
    grant = await services.credentials.grant(token.strip())
    if grant is None:
        raise Closing(UNAUTHORIZED, REFUSED)
    return grant


async def _receive(websocket: WebSocket) -> str:
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    return message.get("text") or ""


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
    # The client may have gone meanwhile, which is what was wanted.
    with suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
        async with asyncio.timeout(_CLOSE_WITHIN_S):
            await websocket.close(code, reason)
