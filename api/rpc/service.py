"""The calls of `tracking.proto`: the queries of REST under other names."""

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import NoReturn
from uuid import UUID

import grpc
from grpc.aio import ServicerContext
from pydantic import TypeAdapter, ValidationError

from api.cursors import (
    name_cursor,
    number_cursor,
    position_cursor,
    read_name_cursor,
    read_number_cursor,
    read_position_cursor,
)
from api.problems import Problem, forbidden, not_found, unauthorized
from api.rpc import tracking_pb2 as pb
from api.rpc.messages import bbox_of, device_message, event_message, given, position_message
from api.rpc.tracking_pb2_grpc import TrackingServiceServicer
from api.schemas import DeviceQuery, EventQuery, HistoryQuery, Text, check_range
from api.services import Services
from tracking.access import Principal
from tracking.errors import InputError, StoreUnavailable
from tracking.quality import Quality
from tracking.store.devices import DeviceFilter, get_device, list_devices
from tracking.store.events import EventFilter, get_event, list_events
from tracking.store.positions import list_positions

logger = logging.getLogger(__name__)

Context = ServicerContext[object, object]

_CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    412: grpc.StatusCode.ABORTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
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
        async with self._call(context, "devices") as caller:
            found = await self._pool.run(get_device, caller.tenant_id, _text(request.name, "name"))
            if found is None:
                raise not_found(f"device {request.name!r}")
            return device_message(found)

    async def ListDevices(
        self, request: pb.ListDevicesRequest, context: Context
    ) -> pb.ListDevicesResponse:
        """A page of devices by name."""
        async with self._call(context, "devices") as caller:
            fields = given(request, **_PAGE, name_prefix="name", online="online", motion="motion")
            query = DeviceQuery.model_validate(fields)
            wanted = DeviceFilter(
                prefix=query.name, online=query.online, motion=query.motion, bbox=bbox_of(request)
            )
            found = await self._pool.run(
                list_devices,
                caller.tenant_id,
                wanted,
                after=read_name_cursor(query.cursor),
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
        async with self._call(context, "positions") as caller:
            query = HistoryQuery.model_validate(
                given(request, **_PAGE, **_RANGE, quality="quality")
            )
            check_range(query.start, query.end)
            found = await self._pool.run(
                list_positions,
                caller.tenant_id,
                _text(request.device, "device"),
                start=query.start,
                end=query.end,
                quality=None if query.quality is None else Quality[query.quality.upper()],
                after=read_position_cursor(query.cursor),
                limit=query.limit + 1,
            )
            if found is None:
                raise not_found(f"device {request.device!r}")
            items = found[: query.limit]
            return pb.ListPositionsResponse(
                positions=[position_message(item.position) for item in items],
                next_page_token=position_cursor(items[-1].key) if len(found) > len(items) else "",
            )

    async def GetEvent(self, request: pb.GetEventRequest, context: Context) -> pb.Event:
        """One event."""
        async with self._call(context, "events") as caller:
            try:
                wanted = UUID(request.id)
            except ValueError:
                raise InputError("id: an event's id is a UUID", field="id") from None
            found = await self._pool.run(get_event, caller.tenant_id, wanted)
            if found is None:
                raise not_found(f"event {request.id}")
            return event_message(found)

    async def ListEvents(
        self, request: pb.ListEventsRequest, context: Context
    ) -> pb.ListEventsResponse:
        """A page of events by cursor."""
        async with self._call(context, "events") as caller:
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
                caller.tenant_id,
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

    @contextlib.asynccontextmanager
    async def _call(self, context: Context, noun: str) -> AsyncIterator[Principal]:
        """Who calls, for the time of a call; whatever is raised within becomes its status."""
        try:
            principal = await self._principal(context, noun)
            yield principal
        except Problem as exc:
            await _abort(context, exc)
        except InputError as exc:
            await _abort(context, Problem(422, str(exc), field=exc.field))
        except ValidationError as exc:
            first = exc.errors()[0]
            field = str(first["loc"][0])
            await _abort(context, Problem(422, f"{field}: {first['msg']}", field=field))
        except StoreUnavailable as exc:
            logger.warning("answered UNAVAILABLE: %s", exc)
            await _abort(context, Problem(503, str(exc)))

    async def _principal(self, context: Context, noun: str) -> Principal:
        metadata = dict(context.invocation_metadata() or ())
        scheme, _, token = str(metadata.get("authorization", "")).partition(" ")
        if scheme.lower() != "bearer":
            raise unauthorized("send a credential as metadata `authorization: Bearer <key>`")
        principal = await self._services.keys.principal(token.strip())
        if principal is None:
            raise unauthorized("this credential is unknown or was revoked")
        if not principal.may(noun, "read"):
            raise forbidden(principal, noun, "read")
        return principal


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
