"""Devices, and where each has been."""

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from api.conventions.answers import Many, Page, Refusal, answer, paged, positions_page
from api.conventions.cursors import (
    device_cursor,
    read_device_cursor,
    read_time_cursor,
    time_cursor,
)
from api.conventions.etags import changed_meanwhile, tagged, wanted_versions
from api.conventions.problems import Problem, not_found
from api.document.route import documented
from api.examples import fleet as examples
from api.exports.batches import POSITION_COLUMNS
from api.exports.desk import File
from api.exports.formats import accepted
from api.identity.auth import Caller, Writer
from api.routers.exports import position_rows
from api.schemas.devices import RegistrationInput
from api.schemas.exports import POSITION_FILES, WHOLE
from api.schemas.fences import DeviceInput, DevicesInput, decoded
from api.schemas.parameters import (
    DeviceQuery,
    HistoryQuery,
    NoQuery,
    Selected,
    Text,
    check_range,
    parse_bbox,
)
from api.services import services_of
from tracking.access import Principal
from tracking.feed import PositionUpdate, fences_notice
from tracking.fence_input import stored_json
from tracking.quality import Quality
from tracking.store.device_edits import (
    DeviceEdit,
    edit_device,
    edit_devices,
    register_device,
)
from tracking.store.devices import (
    DeviceDetail,
    DeviceFilter,
    DeviceView,
    devices_of,
    get_device,
    list_devices,
)
from tracking.store.ledger import list_ledger
from tracking.store.position_pages import HistoryFilter
from tracking.store.positions import PositionKey, list_positions

router = APIRouter(prefix="/v1/devices", tags=["devices"])

DeviceName = Annotated[Text, Path(description="The device's name, as in its topic")]


@router.get(
    "",
    **documented("listDevices", Page[DeviceView], example=examples.page_of(examples.DEVICE)),
)
async def devices(
    request: Request, caller: Caller, query: Annotated[DeviceQuery, Query()]
) -> Response:
    """Devices with their state and latest ok fix, by name unless `sort` says otherwise."""
    wanted = DeviceFilter(
        prefix=query.name,
        online=query.online,
        motion=query.motion,
        bbox=parse_bbox(query.bbox),
        group=query.group,
        tag=query.tag,
    )
    found = await services_of(request).pool.run(
        list_devices,
        caller.tenant_id,
        wanted,
        after=read_device_cursor(query.cursor, query.sort),
        limit=query.limit + 1,
        sort=query.sort,
    )
    return paged(found, query.limit, lambda last: device_cursor(query.sort, last))


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
        problems=[412],
        headers=["ETag"],
    ),
)
async def edit(
    request: Request, caller: Writer, name: DeviceName, _: Annotated[NoQuery, Query()]
) -> Response:
    """Change a device's `groups`, `tags` or `attrs`; what is left out stays.

    Fences that apply to a group or tag hear of it as of an edited fence.
    """
    given = decoded(await request.body(), DeviceInput)
    services = services_of(request)
    there, revision = await services.pool.run(
        edit_device,
        caller.tenant_id,
        name,
        DeviceEdit(given.groups, given.tags, _attrs(given)),
        only_over=wanted_versions(request),
    )
    if not there:
        found = await services.pool.run(get_device, caller.tenant_id, name)
        if found is None:
            raise not_found(f"device {name!r}")
        raise changed_meanwhile(f"device {name!r}", found.version)
    if revision is not None:
        await services.publisher.publish([fences_notice(caller.tenant, revision)])
    return await _told(request, caller, name)


@router.patch(
    "",
    **documented(
        "editDevices",
        Many[DeviceView],
        example=examples.DEVICES_EDITED,
        body=DevicesInput,
        body_example=examples.DEVICES_INPUT,
    ),
)
async def edit_all(request: Request, caller: Writer, _: Annotated[NoQuery, Query()]) -> Response:
    """Change up to 1,000 devices as one is changed; those that are not there are refused."""
    given = decoded(await request.body(), DevicesInput).devices
    edits = {
        one.name: DeviceEdit(one.groups, one.tags, _attrs(one, f"devices[{i}]"))
        for i, one in enumerate(given)
    }
    services = services_of(request)
    done, revision = await services.pool.run(edit_devices, caller.tenant_id, edits)
    if revision is not None:
        await services.publisher.publish([fences_notice(caller.tenant, revision)])
    wanted = DeviceFilter(names=tuple(done))
    items = await services.pool.run(
        list_devices, caller.tenant_id, wanted, after=None, limit=len(done)
    )
    refused = [Refusal(name, "there is no such device") for name in edits.keys() - done]
    return answer(Many(items, sorted(refused, key=lambda one: str(one.id))))


def _attrs(given: DeviceInput, where: str = "") -> bytes | None:
    return None if given.attrs is None else stored_json(given.attrs, "attrs", where)


async def _told(request: Request, caller: Principal, name: str) -> Response:
    pool = services_of(request).pool
    found = await pool.run(get_device, caller.tenant_id, name)
    if found is None:
        raise not_found(f"device {name!r}")
    ledger = await pool.run(list_ledger, caller.tenant_id, device=name, after=None, limit=1)
    members = msgspec.structs.asdict(found)
    told = DeviceDetail(**members, ledger=ledger[0] if ledger else None)
    return tagged(answer(told), found.version, live=True)


@router.get(
    "/{name}/positions",
    **documented(
        "listDevicePositions",
        Page[PositionUpdate],
        example=examples.page_of(examples.POSITION),
        also=[examples.POSITIONS_GEOJSON, *POSITION_FILES],
        problems=[429],
    ),
)
async def history(
    request: Request,
    caller: Caller,
    name: DeviceName,
    query: Annotated[HistoryQuery, Query()],
) -> Response:
    """A device's fixes, oldest first, of every quality unless one is asked for.

    In formats other than JSON and GeoJSON all of them, streamed: `limit` and `cursor` are of pages.
    """
    check_range(query.start, query.end)
    quality = None if query.quality is None else Quality[query.quality.upper()]
    whole = _file_format(request, query)
    if whole is not None:
        wanted = HistoryFilter(query.start, query.end, quality)
        return await _file(request, caller, name, whole, wanted)
    found = await services_of(request).pool.run(
        list_positions,
        caller.tenant_id,
        name,
        start=query.start,
        end=query.end,
        quality=quality,
        after=read_time_cursor(query.cursor, PositionKey),
        limit=query.limit + 1,
    )
    if found is None:
        raise not_found(f"device {name!r}")
    items = found[: query.limit]
    more = time_cursor(items[-1].key) if len(found) > len(items) else None
    paged: Literal["json", "geojson"] | None = None
    if query.format is not None:
        paged = "geojson" if query.format == "geojson" else "json"
    return positions_page(request, paged, [item.position for item in items], more)


def _file_format(request: Request, query: HistoryQuery) -> str | None:
    """The format of a whole file, None for a page."""
    name: str | None = query.format
    if name is None:
        name = accepted(request.headers.get("accept", ""), WHOLE)
    if name not in WHOLE:
        return None
    if paging := query.model_fields_set & {"limit", "cursor"}:
        (field, *_) = sorted(paging)
        raise Problem(422, f"{field}: {name} comes whole, not in pages", field=field)
    return name


async def _file(
    request: Request, caller: Principal, name: str, format_: str, wanted: HistoryFilter
) -> Response:
    devices = await services_of(request).pool.run(devices_of, caller.tenant_id, [name], None)
    if not devices:
        raise not_found(f"device {name!r}")
    if format_ in {"gpx", "kml"} and wanted.quality is None:
        wanted = wanted._replace(quality=Quality.OK)
    asked = {"format": format_, **wanted._asdict()}
    file = File("positions", POSITION_COLUMNS, format_, name, asked)
    return await services_of(request).exports.answer(
        request, caller, file, position_rows(caller, devices, wanted)
    )
