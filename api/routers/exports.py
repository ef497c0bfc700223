"""Whole histories as files, streamed out of one snapshot of the database."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.conventions.problems import not_found
from api.exports.batches import (
    DETENTION_COLUMNS,
    EVENT_COLUMNS,
    MEASUREMENT_COLUMNS,
    POSITION_COLUMNS,
    TRIP_COLUMNS,
    Batch,
    Events,
    Measurements,
    Positions,
    Trips,
    WaitedStops,
)
from api.exports.desk import File, Rows
from api.identity.auth import Caller
from api.schemas import exports as told
from api.schemas.detention import waited_stops
from api.schemas.parameters import Query as Asked
from api.schemas.parameters import check_range, parse_bbox
from api.services import services_of
from tracking.access import Principal
from tracking.feed import cloud_event
from tracking.quality import Quality
from tracking.store.ahead import PAGE
from tracking.store.connection import Connection
from tracking.store.devices import devices_of
from tracking.store.events import EventFilter, list_events
from tracking.store.measurements import MeasurementFilter, read_measurements
from tracking.store.position_pages import HistoryFilter, read_history
from tracking.store.shipments import ShipmentFilter, list_shipments
from tracking.store.trips import TripFilter, list_trips
from tracking.times import utc_now

router = APIRouter(prefix="/v1/exports", tags=["exports"])


@router.get("/positions", **told.POSITIONS)
async def positions(
    request: Request, caller: Caller, query: Annotated[told.PositionExportQuery, Query()]
) -> Response:
    """Fixes by device and in order.

    `gpx` and `kml` have a track for each device, which shows ok fixes unless another quality is
    asked for.
    """
    check_range(query.start, query.end)
    name = told.format_of(request, query.format, told.TRACKS)
    quality = query.quality or ("ok" if name in {"gpx", "kml"} else None)
    devices = await _devices(request, caller, query.device, query.group)
    wanted = HistoryFilter(
        query.start,
        query.end,
        None if quality is None else Quality[quality.upper()],
        parse_bbox(query.bbox),
    )
    file = File("positions", POSITION_COLUMNS, name, "*", _asked(query))
    return await services_of(request).exports.answer(
        request, caller, file, position_rows(caller, devices, wanted)
    )


@router.get("/measurements", **told.MEASUREMENTS)
async def measurements(
    request: Request, caller: Caller, query: Annotated[told.MeasurementExportQuery, Query()]
) -> Response:
    """Values of sensors by device and in order."""
    check_range(query.start, query.end)
    devices = await _devices(request, caller, query.device, query.group)
    wanted = MeasurementFilter(
        None if query.metric is None else tuple(query.metric), query.start, query.end
    )

    async def rows(conn: Connection) -> AsyncGenerator[Batch, None]:
        names, ids = list(devices), list(devices.values())
        async with aclosing(read_measurements(conn, caller.tenant_id, ids, wanted)) as pages:
            async for page in pages:
                yield Measurements(page, names)

    name = told.format_of(request, query.format, told.TABLES)
    file = File("measurements", MEASUREMENT_COLUMNS, name, "*", _asked(query))
    return await services_of(request).exports.answer(request, caller, file, rows)


@router.get("/events", **told.EVENTS)
async def events(
    request: Request, caller: Caller, query: Annotated[told.EventExportQuery, Query()]
) -> Response:
    """Events in the order of their cursors, each in its latest revision."""
    check_range(query.start, query.end)
    wanted = EventFilter(
        None if query.type is None else tuple(query.type),
        query.device,
        query.fence,
        query.start,
        query.end,
        query.status,
    )

    async def rows(conn: Connection) -> AsyncGenerator[Batch, None]:
        after = None
        while found := await list_events(
            conn, caller.tenant_id, wanted, after=after, order="asc", limit=PAGE
        ):
            yield Events([cloud_event(event) for event in found])
            if len(found) < PAGE:
                return
            after = found[-1].cursor

    name = told.format_of(request, query.format, told.TABLES)
    file = File("events", EVENT_COLUMNS, name, "*", _asked(query))
    return await services_of(request).exports.answer(request, caller, file, rows)


@router.get("/trips", **told.TRIPS)
async def trips(
    request: Request, caller: Caller, query: Annotated[told.TripExportQuery, Query()]
) -> Response:
    """Trips in the order of their starts."""
    check_range(query.start, query.end)
    wanted = TripFilter(query.device, query.start, query.end, query.open)

    async def rows(conn: Connection) -> AsyncGenerator[Batch, None]:
        after = None
        while found := await list_trips(conn, caller.tenant_id, wanted, after=after, limit=PAGE):
            yield Trips(found)
            if len(found) < PAGE:
                return
            after = found[-1].key

    name = told.format_of(request, query.format, told.TABLES)
    file = File("trips", TRIP_COLUMNS, name, "*", _asked(query))
    return await services_of(request).exports.answer(request, caller, file, rows)


@router.get("/detention", **told.DETENTION)
async def detention(
    request: Request, caller: Caller, query: Annotated[told.DetentionExportQuery, Query()]
) -> Response:
    """Stops that were reached and what was waited there, those of the last made shipment first."""
    check_range(query.start, query.end)
    wanted = ShipmentFilter(of_party=query.party, reached_from=query.start, reached_until=query.end)

    async def rows(conn: Connection) -> AsyncGenerator[Batch, None]:
        before, now = None, utc_now()
        while found := await list_shipments(
            conn, caller.tenant_id, wanted, before=before, limit=PAGE
        ):
            yield WaitedStops(
                [
                    stop
                    for one in found
                    for stop in waited_stops(one.plan, one.record, now)
                    if (query.start is None or query.start <= stop.arrived_at)
                    and (query.end is None or stop.arrived_at < query.end)
                ]
            )
            if len(found) < PAGE:
                return
            before = found[-1].number

    name = told.format_of(request, query.format, told.TABLES)
    file = File("detention", DETENTION_COLUMNS, name, "*", _asked(query))
    return await services_of(request).exports.answer(request, caller, file, rows)


def position_rows(caller: Principal, devices: dict[str, int], wanted: HistoryFilter) -> Rows:
    """The fixes of these devices, id by name."""

    async def rows(conn: Connection) -> AsyncGenerator[Batch, None]:
        names, ids = list(devices), list(devices.values())
        async with aclosing(read_history(conn, caller.tenant_id, ids, wanted)) as pages:
            async for page in pages:
                yield Positions(page, names)

    return rows


async def _devices(
    request: Request, caller: Principal, names: Sequence[str] | None, group: str | None
) -> dict[str, int]:
    found = await services_of(request).pool.run(devices_of, caller.tenant_id, names, group)
    missing = [name for name in names or () if name not in found]
    if missing:
        of_group = "" if group is None else f" in group {group!r}"
        raise not_found(f"device {missing[0]!r}{of_group}")
    return found


def _asked(query: Asked) -> dict[str, object]:
    return query.model_dump(mode="json", by_alias=True, exclude_none=True)
