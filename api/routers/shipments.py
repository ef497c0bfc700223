"""Shipments: planned by people, kept by events; where each is, was, and what happened to it."""

import secrets
from datetime import timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from api.conventions.answers import Page, answer, paged
from api.conventions.cursors import (
    number_cursor,
    read_number_cursor,
    read_time_cursor,
    time_cursor,
)
from api.conventions.etags import changed_meanwhile, tagged, wanted_versions
from api.conventions.ids import in_path
from api.conventions.problems import Problem, not_found
from api.document.route import documented
from api.examples import nouns as examples
from api.identity.auth import Caller, Writer
from api.routers.assets import track_range
from api.schemas.assets import TrackPage, TrackQuery, carried_by
from api.schemas.estimates import AsOf
from api.schemas.fences import decoded
from api.schemas.overrides import OverrideInput, Overrides, override_of
from api.schemas.parameters import EventList, NoQuery, Selected, check_range
from api.schemas.shipments import (
    ShipmentDetail,
    ShipmentInput,
    ShipmentPatch,
    ShipmentQuery,
    ShipmentView,
    changes_of,
    detail_of,
    plan_of,
    seen_at,
    view_of,
)
from api.services import Services, services_of
from tracking.access import Principal
from tracking.custody import Custody, Ref
from tracking.feed import (
    CloudEvent,
    EventRecord,
    cloud_event,
    encode_event,
    events_channel,
    fences_notice,
)
from tracking.ids import SHIPMENT_ID
from tracking.shipments import Override, Plan
from tracking.store.alerts import Tenant
from tracking.store.custody import custody_of, last_positions, list_track
from tracking.store.events import EventFilter, list_events
from tracking.store.fence_reads import get_fence
from tracking.store.positions import PositionKey
from tracking.store.shipment_edits import Edited, create_shipment, edit_shipment, say, unsay
from tracking.store.shipments import (
    ShipmentFilter,
    StoredShipment,
    get_shipment,
    list_shipments,
    overrides_of,
)
from tracking.times import to_us, utc_now
from tracking.timetable import check_timetable

router = APIRouter(prefix="/v1/shipments", tags=["shipments"])

ShipmentId = Annotated[str, in_path("shipment", SHIPMENT_ID)]


@router.get("", **documented("listShipments", Page[ShipmentView], example=examples.SHIPMENTS))
async def shipments(
    request: Request, caller: Caller, query: Annotated[ShipmentQuery, Query()]
) -> Response:
    """Shipments, the last made first."""
    check_range(query.start, query.end)
    wanted = ShipmentFilter(
        party=caller.party,
        prefix=query.id,
        statuses=None if query.status is None else tuple(query.status),
        order_ref=query.order,
        of_party=query.party,
        carrier=query.carrier,
        device=query.device,
        delayed=query.delayed,
        exceptions=None if query.exception is None else tuple(query.exception),
        start=query.start,
        end=query.end,
    )
    found = await services_of(request).pool.run(
        list_shipments,
        caller.tenant_id,
        wanted,
        before=read_number_cursor(query.cursor),
        limit=query.limit + 1,
    )
    as_of = as_of_now(services_of(request))
    return paged(
        found, query.limit, lambda last: number_cursor(last.number), lambda one: view_of(one, as_of)
    )


@router.post(
    "",
    **documented(
        "createShipment",
        ShipmentDetail,
        example=examples.SHIPMENT,
        status=201,
        body=ShipmentInput,
        body_example=examples.SHIPMENT_INPUT,
        problems=[409],
        headers=["Location", "ETag"],
    ),
)
async def create(request: Request, caller: Writer, _: Annotated[NoQuery, Query()]) -> Response:
    """Plan a shipment. Its status follows by itself once something carries it (attachments)."""
    given = decoded(await request.body(), ShipmentInput)
    plan = plan_of(given, given.id or secrets.token_hex(8))
    check_timetable(plan)
    await check_fences(services_of(request), caller, plan)
    done = await services_of(request).pool.run(
        create_shipment, tenant_of(caller), plan, author=caller.name
    )
    if done is None:
        raise Problem(409, f"shipment {plan.id!r} is there already: PATCH changes it", field="id")
    response = await _edited(request, caller, done)
    response.status_code = 201
    response.headers["Location"] = f"/v1/shipments/{plan.id}"
    return response


@router.get(
    "/{id}",
    **documented("getShipment", ShipmentDetail, example=examples.SHIPMENT, headers=["ETag"]),
)
async def shipment(
    request: Request,
    caller: Caller,
    id: ShipmentId,  # noqa: A002 -- the name in the path, and so in problems, as below
    _: Annotated[Selected, Query()],
) -> Response:
    """One shipment, and where it was last seen."""
    return await _told(request, caller, await _found(request, caller, id))


@router.patch(
    "/{id}",
    **documented(
        "editShipment",
        ShipmentDetail,
        example=examples.SHIPMENT,
        body=ShipmentPatch,
        body_example=examples.SHIPMENT_PATCH,
        problems=[412],
        headers=["ETag"],
    ),
)
async def edit(
    request: Request,
    caller: Writer,
    id: ShipmentId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Change a plan; what became of it is derived anew. With `If-Match` only over that version."""
    changes = changes_of(decoded(await request.body(), ShipmentPatch))

    def changed(plan: Plan) -> Plan:
        plan = msgspec.structs.replace(plan, **changes)
        if changes.keys() & {"stops", "timetable"}:
            # A pickup that was planned anew may have left it without sense; that is no reason to
            # refuse another edit.
            check_timetable(plan)
        return plan

    stored = await _found(request, caller, id)
    await check_fences(services_of(request), caller, changed(stored.plan))
    done = await services_of(request).pool.run(
        edit_shipment,
        tenant_of(caller),
        id,
        changed,
        author=caller.name,
        only_over=wanted_versions(request),
    )
    if done is None:
        raise changed_meanwhile(f"shipment {id!r}", stored.version)
    return await _edited(request, caller, done)


@router.delete(
    "/{id}",
    **documented("cancelShipment", ShipmentDetail, example=examples.SHIPMENT, problems=[409]),
)
async def cancel(
    request: Request,
    caller: Writer,
    id: ShipmentId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Cancel a shipment now: an override like any other, which may be withdrawn."""
    said = override_of(OverrideInput("cancelled"), caller.name)
    return await _say(request, caller, id, said)


@router.get("/{id}/track", **documented("getShipmentTrack", TrackPage, example=examples.TRACK_PAGE))
async def track(
    request: Request,
    caller: Caller,
    id: ShipmentId,  # noqa: A002
    query: Annotated[TrackQuery, Query()],
) -> Response:
    """The ok fixes of whatever carried a shipment while it did, and who that was when."""
    start, end = track_range(query)
    await _found(request, caller, id)
    pool = services_of(request).pool
    custody = await pool.run(custody_of, caller.tenant_id, [Ref("shipment", id)])
    parts = (custody or Custody([])).segments(Ref("shipment", id), to_us(start), to_us(end))
    found = await pool.run(
        list_track,
        caller.tenant_id,
        parts,
        after=read_time_cursor(query.cursor, PositionKey),
        limit=query.limit + 1,
    )
    items = found[: query.limit]
    more = time_cursor(items[-1].key) if len(found) > len(items) else None
    return answer(
        TrackPage([item.position for item in items], more, [carried_by(part) for part in parts])
    )


@router.get(
    "/{id}/events",
    **documented("listShipmentEvents", Page[CloudEvent], example=examples.SHIPMENT_EVENTS),
)
async def events(
    request: Request,
    caller: Caller,
    id: ShipmentId,  # noqa: A002
    query: Annotated[EventList, Query()],
) -> Response:
    """What happened to a shipment, in the order it was recorded; retracted events too."""
    stored = await _found(request, caller, id)
    found = await services_of(request).pool.run(
        list_events,
        caller.tenant_id,
        EventFilter(subject=stored.plan.subject),
        after=read_number_cursor(query.cursor),
        order=query.order,
        limit=query.limit + 1,
    )
    return paged(found, query.limit, lambda last: number_cursor(last.cursor), cloud_event)


@router.get(
    "/{id}/overrides",
    **documented("listShipmentOverrides", Overrides, example=examples.OVERRIDES),
)
async def overrides(
    request: Request,
    caller: Caller,
    id: ShipmentId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """What people said of a shipment, and what they withdrew."""
    stored = await _found(request, caller, id)
    said = await services_of(request).pool.run(overrides_of, [stored.number])
    return answer(Overrides(said[stored.number], None))


@router.post(
    "/{id}/overrides",
    **documented(
        "overrideShipment",
        ShipmentDetail,
        example=examples.SHIPMENT,
        status=201,
        body=OverrideInput,
        body_example=examples.OVERRIDE_INPUT,
        problems=[409],
    ),
)
async def override(
    request: Request,
    caller: Writer,
    id: ShipmentId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Say what happened where no event tells it, or events are wrong; proof of delivery too."""
    given = decoded(await request.body(), OverrideInput)
    stored = await _found(request, caller, id)
    if given.stop is not None and given.stop >= len(stored.plan.stops):
        raise Problem(422, f"stop: there are {len(stored.plan.stops)}, from 0", field="stop")
    response = await _say(request, caller, id, override_of(given, caller.name))
    response.status_code = 201
    return response


@router.delete(
    "/{id}/overrides/{number}",
    **documented("withdrawShipmentOverride", ShipmentDetail, example=examples.SHIPMENT),
)
async def withdraw(
    request: Request,
    caller: Writer,
    id: ShipmentId,  # noqa: A002
    number: Annotated[int, Path(ge=1, le=2**63 - 1)],
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Withdraw what somebody said; the shipment is what events say again."""
    done = await services_of(request).pool.run(
        unsay, tenant_of(caller), id, number, author=caller.name
    )
    if done is None:
        raise not_found(f"override {number} of shipment {id!r}")
    return await _edited(request, caller, done)


async def _found(request: Request, caller: Principal, id_: str) -> StoredShipment:
    found = await services_of(request).pool.run(
        get_shipment, caller.tenant_id, id_, party=caller.party
    )
    if found is None:
        raise not_found(f"shipment {id_!r}")
    return found


async def _say(request: Request, caller: Principal, id_: str, said: Override) -> Response:
    done = await services_of(request).pool.run(say, tenant_of(caller), id_, said)
    if done is None:
        raise not_found(f"shipment {id_!r}")
    return await _edited(request, caller, done)


async def _edited(request: Request, caller: Principal, done: Edited) -> Response:
    """Tell everybody of an edit, and the caller what came of it."""
    await announce(services_of(request), caller, done.records, done.fence_revision)
    return await _told(request, caller, done.shipment)


async def announce(
    services: Services, caller: Principal, records: list[EventRecord], fence_revision: int | None
) -> None:
    """Publish the events of an edit, and that fences moved with it."""
    notices = [(events_channel(caller.tenant), encode_event(record)) for record in records]
    if fence_revision is not None:
        notices.append(fences_notice(caller.tenant, fence_revision))
    await services.publisher.publish(notices)


async def _told(request: Request, caller: Principal, stored: StoredShipment) -> Response:
    [detail] = await details(services_of(request), caller.tenant_id, [stored])
    return tagged(answer(detail), stored.version, live=True)


async def details(
    services: Services, tenant_id: int, stored: list[StoredShipment]
) -> list[ShipmentDetail]:
    """Shipments with where each was last seen."""
    if not stored:
        return []
    refs = [Ref("shipment", one.plan.id) for one in stored]
    custody = await services.pool.run(custody_of, tenant_id, refs) or Custody([])
    as_of = as_of_now(services)
    parts = [custody.segments(ref, 0, to_us(as_of.now) + 1) for ref in refs]
    seen = await services.pool.run(last_positions, tenant_id, parts)
    return [
        detail_of(one, as_of, seen_at(as_of, its_parts[-1], last))
        for one, its_parts, last in zip(stored, parts, seen, strict=True)
    ]


def as_of_now(services: Services) -> AsOf:
    """Now, and how old a fix may be now."""
    return AsOf(utc_now(), timedelta(seconds=services.settings.silent_after_s))


async def check_fences(services: Services, caller: Principal, plan: Plan) -> None:
    """Refuse stops in fences that are not there."""
    known: dict[str, Any] = {}
    for i, stop in enumerate(plan.stops):
        if stop.fence is None:
            continue
        if stop.fence not in known:
            known[stop.fence] = await services.pool.run(get_fence, caller.tenant_id, stop.fence)
        fence = known[stop.fence]
        if fence is None or fence.deleted_at is not None:
            field = f"stops[{i}].fence"
            raise Problem(422, f"{field}: there is no fence {stop.fence!r}", field=field)


def tenant_of(caller: Principal) -> Tenant:
    """Whose shipments a caller edits."""
    return Tenant(caller.tenant, caller.tenant_id)
