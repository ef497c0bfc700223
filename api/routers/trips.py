"""Trips: from a stay to the next, as the events tell them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from api.conventions.answers import Page, answer, paged
from api.conventions.cursors import read_time_cursor, time_cursor
from api.conventions.problems import not_found
from api.document.route import documented
from api.examples import fleet as examples
from api.identity.auth import Caller
from api.schemas.parameters import NoQuery, TripQuery, check_range
from api.services import services_of
from tracking.store.trips import Trip, TripFilter, TripKey, get_trip, list_trips

router = APIRouter(prefix="/v1/trips", tags=["trips"])

TripId = Annotated[UUID, Path(description="The id of the event the trip began with")]


@router.get("", **documented("listTrips", Page[Trip], example=examples.page_of(examples.TRIP)))
async def trips(request: Request, caller: Caller, query: Annotated[TripQuery, Query()]) -> Response:
    """Trips in the order of their starts.

    A trip belongs to the time asked for when any moment of it does.
    """
    check_range(query.start, query.end)
    found = await services_of(request).pool.run(
        list_trips,
        caller.tenant_id,
        TripFilter(query.device, query.start, query.end, query.open),
        after=read_time_cursor(query.cursor, TripKey),
        limit=query.limit + 1,
    )
    return paged(found, query.limit, lambda last: time_cursor(last.key))


@router.get("/{id}", **documented("getTrip", Trip, example=examples.TRIP))
async def trip(
    request: Request,
    caller: Caller,
    id: TripId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """One trip; `track` leads to where it went."""
    found = await services_of(request).pool.run(get_trip, caller.tenant_id, id)
    if found is None:
        raise not_found(f"trip {id}")
    return answer(found)
