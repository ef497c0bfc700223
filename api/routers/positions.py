"""Where everything is now."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.conventions.answers import Page, positions_page
from api.conventions.cursors import name_cursor, read_name_cursor
from api.document.route import documented
from api.examples import fleet as examples
from api.identity.auth import Caller
from api.schemas.parameters import LatestQuery, parse_bbox
from api.services import services_of
from tracking.feed import PositionUpdate
from tracking.store.devices import DeviceFilter, list_latest

router = APIRouter(prefix="/v1/positions", tags=["positions"])


@router.get(
    "",
    **documented(
        "listPositions",
        Page[PositionUpdate],
        example=examples.page_of(examples.POSITION),
        also=[examples.POSITIONS_GEOJSON],
    ),
)
async def latest(
    request: Request, caller: Caller, query: Annotated[LatestQuery, Query()]
) -> Response:
    """The latest ok fix of each device, by the device's name."""
    wanted = DeviceFilter(
        names=None if query.device is None else tuple(query.device),
        prefix=query.name,
        bbox=parse_bbox(query.bbox),
        group=query.group,
        tag=query.tag,
    )
    after = read_name_cursor(query.cursor)
    found = await services_of(request).pool.run(
        list_latest, caller.tenant_id, wanted, after=after, limit=query.limit + 1
    )
    items = found[: query.limit]
    more = name_cursor(items[-1].device) if len(found) > len(items) else None
    return positions_page(request, query.format, items, more)
