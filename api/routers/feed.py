"""The live feed's addresses: a websocket, and the same as server-sent events."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response, WebSocket

from api.conventions.problems import unauthorized
from api.document.route import documented
from api.examples import fleet as examples
from api.feed.dialogue import serve_socket
from api.feed.event_stream import MEDIA_TYPE, EventStream
from api.identity.auth import REFUSED, Caller
from api.schemas.parameters import FeedQuery, parse_bbox
from api.services import services_of
from tracking.interest import Interest

router = APIRouter(tags=["feed"])

_LastEventId = Annotated[
    int | None,
    Header(
        alias="Last-Event-ID",
        ge=0,
        le=2**63 - 1,
        description="The `id` of the last event of a stream that broke; goes before `since`",
    ),
]


@router.websocket("/v1/feed")
async def feed(websocket: WebSocket) -> None:
    """Positions and events as they happen."""
    await websocket.accept()
    await serve_socket(websocket, services_of(websocket))


@router.get(
    "/v1/feed/sse",
    **documented("streamFeed", str, example=examples.EVENT_STREAM, media_type=MEDIA_TYPE),
)
async def stream(
    request: Request,
    caller: Caller,
    query: Annotated[FeedQuery, Query()],
    last_event_id: _LastEventId = None,
) -> Response:
    """Follow positions and events as server-sent events; the answer does not end by itself.

    First a `snapshot`, then what happens, as over the websocket. The `id` of an event is the
    cursor from which to resume.
    """
    del caller
    services = services_of(request)
    credential = request.headers["authorization"].partition(" ")[2]
    grant = await services.credentials.grant(credential.strip())
    if grant is None:
        raise unauthorized(REFUSED)
    interest = Interest(
        devices=_set(query.device),
        bbox=parse_bbox(query.bbox),
        types=_set(query.type),
        fences=_set(query.fence),
        positions=query.positions,
        shipments=_set(query.shipment),
    )
    since = query.since if last_event_id is None else last_event_id
    return EventStream(services, grant, interest, since)


def _set(names: list[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)
