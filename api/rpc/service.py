"""The calls of `tracking.proto`: the queries of REST under other names."""

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote
from uuid import UUID

import grpc
from google.protobuf.message import Message as ProtoMessage
from grpc.aio import ServicerContext
from pydantic import TypeAdapter, ValidationError

from api.conventions.cursors import (
    name_cursor,
    number_cursor,
    read_device_cursor,
    read_number_cursor,
    read_time_cursor,
    time_cursor,
)
from api.conventions.problems import Problem, forbidden, not_found, unauthorized
from api.feed.session import FORBIDDEN, TRY_AGAIN_LATER, UNAUTHORIZED, Closing, Session, first_of
from api.identity.auth import REFUSED
from api.identity.credentials import Grant
from api.rpc import tracking_pb2 as pb
from api.rpc.messages import bbox_of, device_message, event_message, given, position_message
from api.rpc.streams import RpcLink, events_wire, positions_wire
from api.rpc.tracking_pb2_grpc import TrackingServiceServicer
from api.schemas.parameters import DeviceQuery, EventQuery, HistoryQuery, Text, check_range
from api.services import Services
from tracking.errors import InputError, ProviderUnavailable, StoreUnavailable
from tracking.interest import Interest
from tracking.quality import Quality
from tracking.store.acting import Mandate, act
from tracking.store.devices import DeviceFilter, get_device, list_devices
from tracking.store.events import EventFilter, get_event, list_events
from tracking.store.positions import PositionKey, list_positions

logger = logging.getLogger(__name__)

Context = ServicerContext[Any, Any]
M = TypeVar("M", bound=ProtoMessage)

_CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    412: grpc.StatusCode.ABORTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
# What ends a session of the feed, as statuses of requests. A slow reader is one of too many.
_CLOSED = {UNAUTHORIZED: 401, FORBIDDEN: 403, TRY_AGAIN_LATER: 429}
_PAGE = {"page_size": "limit", "page_token": "cursor"}
_RANGE = {"start_time": "from", "end_time": "to"}
# What REST calls a field at fault, where a message has another name for it.
_FIELDS = {parameter: field for field, parameter in (_PAGE | _RANGE).items()} | {
    "type": "types",
}
_names = TypeAdapter(Text)


class TrackingService(TrackingServiceServicer):
    """Answers the calls of one api process; tasks share it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._pool = services.pool

    async def GetDevice(self, request: pb.GetDeviceRequest, context: Context) -> pb.Device:
        """One device."""
        async with self._call(context, "devices") as grant:
            found = await self._pool.run(
                get_device, grant.principal.tenant_id, _text(request.name, "name")
            )
            if found is None:
                raise not_found(f"device {request.name!r}")
            return device_message(found)

    async def ListDevices(
        self, request: pb.ListDevicesRequest, context: Context
    ) -> pb.ListDevicesResponse:
        """A page of devices by name."""
        async with self._call(context, "devices") as grant:
            fields = given(request, **_PAGE, name_prefix="name", online="online", motion="motion")
            query = DeviceQuery.model_validate(fields)
            wanted = DeviceFilter(
                prefix=query.name, online=query.online, motion=query.motion, bbox=bbox_of(request)
            )
            found = await self._pool.run(
                list_devices,
                grant.principal.tenant_id,
                wanted,
                after=read_device_cursor(query.cursor, "name"),
                limit=query.limit + 1,
            )
            items = found[: query.limit]
            return pb.ListDevicesResponse(
                devices=map(device_message, items),
                next_page_token=name_cursor(items[-1].name) if len(found) > len(items) else "",
            )

    async def ListPositions(
        self, request: pb.ListPositionsRequest, context: Context
    ) -> pb.ListPositionsResponse:
        """A page of a device's fixes, oldest first."""
        async with self._call(context, "positions") as grant:
            query = HistoryQuery.model_validate(
                given(request, **_PAGE, **_RANGE, quality="quality")
            )
            check_range(query.start, query.end)
            found = await self._pool.run(
                list_positions,
                grant.principal.tenant_id,
                _text(request.device, "device"),
                start=query.start,
                end=query.end,
                quality=None if query.quality is None else Quality[query.quality.upper()],
                after=read_time_cursor(query.cursor, PositionKey),
                limit=query.limit + 1,
            )
            if found is None:
                raise not_found(f"device {request.device!r}")
            items = found[: query.limit]
            return pb.ListPositionsResponse(
                positions=[position_message(item.position) for item in items],
                next_page_token=time_cursor(items[-1].key) if len(found) > len(items) else "",
            )

    async def GetEvent(self, request: pb.GetEventRequest, context: Context) -> pb.Event:
        """One event."""
        async with self._call(context, "events") as grant:
            try:
                wanted = UUID(request.id)
            except ValueError:
                raise InputError("id: an event's id is a UUID", field="id") from None
            found = await self._pool.run(get_event, grant.principal.tenant_id, wanted)
            if found is None:
                raise not_found(f"event {request.id}")
            return event_message(found)

    async def ListEvents(
        self, request: pb.ListEventsRequest, context: Context
    ) -> pb.ListEventsResponse:
        """A page of events by cursor."""
        async with self._call(context, "events") as grant:
            same = {name: name for name in ("device", "fence", "status", "since")}
            fields = given(request, **_PAGE, **_RANGE, types="type", **same)
            query = EventQuery.model_validate(fields)
            check_range(query.start, query.end)
            wanted = EventFilter(
                types=None if query.type is None else tuple(query.type),
                device=query.device,
                fence=query.fence,
                start=query.start,
                end=query.end,
                status=query.status,
                since=query.since,
            )
            found = await self._pool.run(
                list_events,
                grant.principal.tenant_id,
                wanted,
                after=read_number_cursor(query.cursor),
                order="desc" if request.descending else "asc",
                limit=query.limit + 1,
            )
            items = found[: query.limit]
            return pb.ListEventsResponse(
                events=map(event_message, items),
                next_page_token=number_cursor(items[-1].cursor) if len(found) > len(items) else "",
            )

    async def StreamPositions(  # type: ignore[override]  # writes itself instead of yielding
        self, request: pb.StreamPositionsRequest, context: Context
    ) -> None:
        """What is where, and what moves."""
        async with self._call(context, "feed") as grant:
            interest = _interest(request.filter)
            if interest.types or interest.fences:
                raise InputError("filter: types and fences are of events", field="filter")
            link = RpcLink(positions_wire, pb.PositionBatch.FromString)
            # No event type is named so: none is wanted.
            await self._stream(grant, link, interest._replace(types=frozenset()), None, context)

    async def StreamEvents(  # type: ignore[override]  # as above
        self, request: pb.StreamEventsRequest, context: Context
    ) -> None:
        """What happens, behind a cursor."""
        async with self._call(context, "feed") as grant:
            since = request.since if request.HasField("since") else None
            if since is not None and since < 0:
                raise InputError("since: cursors are positive", field="since")
            link = RpcLink(events_wire, pb.EventMessage.FromString)
            interest = _interest(request.filter)._replace(positions=False)
            await self._stream(grant, link, interest, since, context)

    async def _stream(
        self,
        grant: Grant,
        link: RpcLink[M],
        interest: Interest,
        since: int | None,
        context: Context,
    ) -> None:
        async def talk(session: Session) -> None:
            session.subscribe(None, interest, since)
            await link.drain(context.write)

        try:
            await Session(self._services, grant, link).run(talk)
        except* Closing as group:
            closing = first_of(group)
            raise Problem(_CLOSED.get(closing.code, 503), closing.reason) from None
        except* StoreUnavailable as group:
            raise first_of(group) from None

    @contextlib.asynccontextmanager
    async def _call(self, context: Context, noun: str) -> AsyncIterator[Grant]:
        """Who calls, for the time of a call; whatever is raised within becomes its status."""
        try:
            yield await self._grant(context, noun)
        except Problem as exc:
            await _abort(context, exc)
        except InputError as exc:
            await _abort(context, Problem(422, str(exc), field=exc.field))
        except ValidationError as exc:
            first = exc.errors()[0]
            field = str(first["loc"][0]) if first["loc"] else "name"
            await _abort(context, Problem(422, f"{field}: {first['msg']}", field=field))
        except (StoreUnavailable, ProviderUnavailable) as exc:
            logger.warning("answered UNAVAILABLE: %s", exc)
            await _abort(context, Problem(503, str(exc)))

    async def _grant(self, context: Context, noun: str) -> Grant:
        """Let a call in as a request is let in, by the same gate and on the same mandate."""
        metadata = dict(context.invocation_metadata() or ())
        credential = str(metadata.get("authorization", ""))
        scope = _scope(context, credential)
        gate = self._services.gate
        gate.enter(scope)
        scheme, _, token = credential.partition(" ")
        if scheme.lower() != "bearer":
            raise unauthorized("send a credential as metadata `authorization: Bearer ...`")
        grant = await self._services.credentials.grant(token.strip())
        if grant is None:
            gate.failed(scope)
            raise unauthorized(REFUSED)
        gate.enter_as(grant.principal, scope)
        if not grant.principal.may(noun, "read"):
            raise forbidden(grant.principal, noun, "read")
        act(Mandate.of(grant.principal, changes=False))
        return grant


def _scope(context: Context, credential: str) -> dict[str, Any]:
    """A call as the gate sees requests."""
    # `ipv4:127.0.0.1:50000`, `ipv6:[::1]:50000`, or `unix:...`.
    host = unquote(context.peer()).partition(":")[2].rpartition(":")[0].strip("[]")
    return {
        "type": "http",
        "path": "/waymark.v1.TrackingService",
        "client": (host, 0),
        "headers": [(b"authorization", credential.encode())],
    }


def _interest(wanted: pb.StreamFilter) -> Interest:
    """The interest of a filter.

    Raises:
        InputError: the box is none.
    """
    return Interest(
        devices=frozenset(wanted.devices) or None,
        bbox=bbox_of(wanted),
        types=frozenset(wanted.types) or None,
        fences=frozenset(wanted.fences) or None,
    )


async def _abort(context: Context, problem: Problem) -> NoReturn:
    code = _CODES.get(problem.status, grpc.StatusCode.INVALID_ARGUMENT)
    field = _FIELDS.get(problem.field or "", problem.field)
    await context.abort(code, problem.detail, (("waymark-field", field),) if field else ())


def _text(value: str, field: str) -> str:
    """A name as REST takes it.

    Raises:
        ValidationError: it is empty, too long or has control characters.
    """
    if not value:
        raise InputError(f"{field}: it is missing", field=field)
    return _names.validate_python(value)
