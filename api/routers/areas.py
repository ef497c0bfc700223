"""Who was in an area between two times, for an area drawn afterwards."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.conventions.answers import answer
from api.conventions.problems import Problem
from api.document.route import documented
from api.examples import fences as examples
from api.identity.auth import Caller
from api.schemas.fences import decoded
from api.schemas.parameters import NoQuery
from api.schemas.visits import AreaDevicesPage, AreaInput
from api.services import services_of
from geofence.shapes import ShapeError, shape_of
from tracking.stays import Stays
from tracking.store.areas import Area, device_names, fixes_inside

router = APIRouter(prefix="/v1/areas", tags=["visits"])

# Each day is one statement, and must end before the database ends it.
_DAYS_MAX = 31
_DEVICES_MAX = 10_000
_STAYS_MAX = 100_000


@router.post(
    "/devices",
    **documented(
        "findAreaDevices",
        AreaDevicesPage,
        example=examples.AREA_DEVICES,
        body=AreaInput,
        body_example=examples.AREA_INPUT,
    ),
)
async def devices(request: Request, caller: Caller, _: Annotated[NoQuery, Query()]) -> Response:
    """Devices with an ok fix inside the area in [start, end), and their stays, by name.

    A stay is a run of fixes inside: it ends with an ok fix elsewhere, or after `gap_s` without.
    """
    wanted = decoded(await request.body(), AreaInput)
    start, end = _moment(wanted.start, "start"), _moment(wanted.end, "end")
    _check(start, end)
    try:
        shape, notes = shape_of(wanted.shape, where="shape")
    except ShapeError as exc:
        raise Problem(422, str(exc), field=exc.field or None) from None
    area = await asyncio.to_thread(Area.of, shape)
    pool = services_of(request).pool
    stays = Stays(round(wanted.gap_s * 1e6))
    for since, until in _days(start, end):
        found = await pool.run(
            fixes_inside, caller.tenant_id, area, start=since, end=until, seen_us=stays.last_us()
        )
        stays.add(found)
        if len(stays) > _DEVICES_MAX or stays.count > _STAYS_MAX:
            raise Problem(
                422,
                f"more than {_DEVICES_MAX:,} devices or {_STAYS_MAX:,} stays: ask for less",
                field="end",
            )
    names = await pool.run(device_names, list(stays.devices()))
    return answer(AreaDevicesPage(stays.told(names), None, notes))


def _moment(moment: datetime, field: str) -> datetime:
    if not 1970 <= moment.year < 9999:
        raise Problem(422, f"{field}: times reach from 1970 to 9998", field=field)
    return moment.astimezone(UTC)


def _check(start: datetime, end: datetime) -> None:
    if start >= end:
        raise Problem(422, "start: it is not before `end`", field="start")
    if end - start > timedelta(days=_DAYS_MAX):
        raise Problem(422, f"end: ask for {_DAYS_MAX} days at most", field="end")


def _days(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The time in parts, none longer than the day that positions are kept by."""
    while start < end:
        midnight = start.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        yield start, min(midnight, end)
        start = midnight
