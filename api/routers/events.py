"""Events."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from api.conventions.answers import CLOUDEVENT, Page, answer, paged
from api.conventions.cursors import number_cursor, read_number_cursor
from api.conventions.problems import not_found
from api.document.route import documented
from api.examples import fleet as examples
from api.identity.auth import Caller
from api.schemas.parameters import EventQuery, Selected, check_range
from api.services import services_of
from tracking.feed import CloudEvent, cloud_event
from tracking.store.events import EventFilter, get_event, list_events

router = APIRouter(prefix="/v1/events", tags=["events"])


@router.get(
    "", **documented("listEvents", Page[CloudEvent], example=examples.page_of(examples.EVENT))
)
async def events(
    request: Request, caller: Caller, query: Annotated[EventQuery, Query()]
) -> Response:
    """Events in the order of their cursors; each is told in its latest revision only."""
    check_range(query.start, query.end)
    page_end = read_number_cursor(query.cursor)
    wanted = EventFilter(
        types=None if query.type is None else tuple(query.type),
        device=query.device,
        fence=query.fence,
        start=query.start,
        end=query.end,
        status=query.status,
        since=query.since,
    )
    found = await services_of(request).pool.run(
        list_events,
        caller.tenant_id,
        wanted,
        after=page_end,
        order=query.order,
        limit=query.limit + 1,
    )
    return paged(found, query.limit, lambda last: number_cursor(last.cursor), cloud_event)


@router.get(
    "/{id}", **documented("getEvent", CloudEvent, example=examples.EVENT, media_type=CLOUDEVENT)
)
async def event(
    request: Request,
    caller: Caller,
    id: UUID,  # noqa: A002 -- the name in the path, and so in problems
    _: Annotated[Selected, Query()],
) -> Response:
    """One event in its latest revision, as CloudEvents 1.0 JSON."""
    found = await services_of(request).pool.run(get_event, caller.tenant_id, id)
    if found is None:
        raise not_found(f"event {id}")
    return answer(cloud_event(found), CLOUDEVENT)
