"""Devices, and where each has been."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from api import examples
from api.answers import Page, answer, page, positions_page
from api.auth import Caller, Writer
from api.cursors import name_cursor, position_cursor, read_name_cursor, read_position_cursor
from api.device_schemas import RegistrationInput
from api.fence_schemas import DeviceInput, decoded
from api.openapi import documented
from api.problems import Problem, not_found
from api.schemas import DeviceQuery, HistoryQuery, NoQuery, Selected, Text, check_range, parse_bbox
from api.services import services_of
from tracking.access import Principal
from tracking.feed import PositionUpdate, fences_notice
from tracking.fence_input import stored_json
from tracking.quality import Quality
from tracking.store.device_edits import DeviceEdit, edit_device, register_device
from tracking.store.devices import DeviceDetail, DeviceFilter, DeviceView, get_device, list_devices
from tracking.store.ledger import list_ledger
from tracking.store.positions import list_positions

router = APIRouter(prefix="/v1/devices", tags=["devices"])

DeviceName = Annotated[Text, Path(description="The device's name, as in its topic")]


@router.get(
    "",
    **documented("listDevices", Page[DeviceView], example=examples.page_of(examples.DEVICE)),
)
async def devices(
    request: Request, caller: Caller, query: Annotated[DeviceQuery, Query()]
) -> Response:
    """Devices by name, with their state and latest ok fix."""
    wanted = DeviceFilter(
        prefix=query.name,
        online=query.online,
        motion=query.motion,
        bbox=parse_bbox(query.bbox),
    )
    after = read_name_cursor(query.cursor)
    found = await services_of(request).pool.run(
        list_devices, caller.tenant_id, wanted, after=after, limit=query.limit + 1
    )
    items = found[: query.limit]
    return page(items, name_cursor(items[-1].name) if len(found) > len(items) else None)


@router.post(
    "",
    **documented(
        "registerDevice",
        DeviceDetail,
        example=examples.NEW_DEVICE,
        status=201,
        body=RegistrationInput,
        body_example=examples.REGISTRATION,
        problems=[409],
        headers=["Location"],
    ),
)
async def register(request: Request, caller: Writer, _: Annotated[NoQuery, Query()]) -> Response:
    """Register a device before its first message, to give it credentials or commands."""
    given = decoded(await request.body(), RegistrationInput)
    wanted = DeviceEdit(given.groups, given.tags, stored_json(given.attrs, "attrs"))
    services = services_of(request)
    made, revision = await services.pool.run(register_device, caller.tenant_id, given.name, wanted)
    if not made:
        raise Problem(
            409, f"device {given.name!r} is there already: PATCH changes it", field="name"
        )
    if revision is not None:
        await services.publisher.publish([fences_notice(caller.tenant, revision)])
    response = await _told(request, caller, given.name)
    response.status_code = 201
    response.headers["Location"] = f"/v1/devices/{given.name}"
    return response


@router.get("/{name}", **documented("getDevice", DeviceDetail, example=examples.DEVICE_DETAIL))
async def device(
    request: Request, caller: Caller, name: DeviceName, _: Annotated[Selected, Query()]
) -> Response:
    """One device, with its account in the ledger."""
    return await _told(request, caller, name)


@router.get(
    "/{name}/position",
    **documented("getDevicePosition", PositionUpdate, example=examples.POSITION),
)
async def position(
    request: Request, caller: Caller, name: DeviceName, _: Annotated[NoQuery, Query()]
) -> Response:
    """Where a device is: its latest ok fix."""
    found = await services_of(request).latest.position(caller, name)
    if found is None:
        raise not_found(f"device {name!r}")
    (latest,) = found
    if latest is None:
        raise not_found(f"position of device {name!r} yet")
    return answer(latest)


@router.patch(
    "/{name}",
    **documented(
        "editDevice",
        DeviceDetail,
        example=examples.DEVICE_DETAIL,
        body=DeviceInput,
        body_example=examples.DEVICE_INPUT,
    ),
)
async def edit(
    request: Request, caller: Writer, name: DeviceName, _: Annotated[NoQuery, Query()]
) -> Response:
    """Change a device's `groups`, `tags` or `attrs`; what is left out stays.

    Fences that apply to a group or tag hear of it as of an edited fence.
    """
    given = decoded(await request.body(), DeviceInput)
    attrs = None if given.attrs is None else stored_json(given.attrs, "attrs")
    services = services_of(request)
    there, revision = await services.pool.run(
        edit_device, caller.tenant_id, name, DeviceEdit(given.groups, given.tags, attrs)
    )
    if not there:
        raise not_found(f"device {name!r}")
    if revision is not None:
        await services.publisher.publish([fences_notice(caller.tenant, revision)])
    return await _told(request, caller, name)


async def _told(request: Request, caller: Principal, name: str) -> Response:
    pool = services_of(request).pool
    found = await pool.run(get_device, caller.tenant_id, name)
    if found is None:
        raise not_found(f"device {name!r}")
    ledger = await pool.run(list_ledger, caller.tenant_id, device=name, after=None, limit=1)
    return answer(
        DeviceDetail(**msgspec.structs.asdict(found), ledger=ledger[0] if ledger else None)
    )


@router.get(
    "/{name}/positions",
    **documented(
        "listDevicePositions",
        Page[PositionUpdate],
        example=examples.page_of(examples.POSITION),
        also=[examples.POSITIONS_GEOJSON],
    ),
)
async def history(
    request: Request,
    caller: Caller,
    name: DeviceName,
    query: Annotated[HistoryQuery, Query()],
) -> Response:
    """A device's fixes, oldest first, of every quality unless one is asked for."""
    check_range(query.start, query.end)
    found = await services_of(request).pool.run(
        list_positions,
        caller.tenant_id,
        name,
        start=query.start,
        end=query.end,
        quality=None if query.quality is None else Quality[query.quality.upper()],
        after=read_position_cursor(query.cursor),
        limit=query.limit + 1,
    )
    if found is None:
        raise not_found(f"device {name!r}")
    items = found[: query.limit]
    more = position_cursor(items[-1].key) if len(found) > len(items) else None
    return positions_page(request, query.format, [item.position for item in items], more)
