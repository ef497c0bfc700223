"""Pickups: asked for once or again and again, tried, planned anew, and called off."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.conventions.answers import Page, answer, paged
from api.conventions.cursors import number_cursor, read_number_cursor
from api.conventions.ids import in_path
from api.conventions.problems import Problem, not_found
from api.document.route import documented
from api.examples import pickups as examples
from api.identity.auth import Caller, Writer
from api.routers.shipments import announce, check_fences, tenant_of
from api.schemas.fences import decoded
from api.schemas.parameters import NoQuery, Selected, check_range
from api.schemas.pickups import (
    AttemptInput,
    PickupInput,
    PickupPatch,
    PickupQuery,
    PickupView,
    attempt_of,
    draft_of,
    view_of,
)
from api.schemas.shipments import window_of
from api.services import services_of
from tracking.access import Principal
from tracking.ids import SHIPMENT_ID
from tracking.store.pickups import (
    EditedPickup,
    PickupFilter,
    cancel_pickup,
    create_pickup,
    get_pickup,
    list_pickups,
    note_attempt,
    reschedule_pickup,
)

router = APIRouter(prefix="/v1/pickups", tags=["pickups"])

PickupId = Annotated[str, in_path("pickup", SHIPMENT_ID)]


@router.get("", **documented("listPickups", Page[PickupView], example=examples.PICKUPS))
async def pickups(
    request: Request, caller: Caller, query: Annotated[PickupQuery, Query()]
) -> Response:
    """Pickups and series of them, the last made first."""
    check_range(query.start, query.end)
    wanted = PickupFilter(
        statuses=None if query.status is None else tuple(query.status),
        kind=query.kind,
        express=query.express,
        order_ref=query.order,
        series=query.series,
        start=query.start,
        end=query.end,
    )
    found = await services_of(request).pool.run(
        list_pickups,
        caller.tenant_id,
        wanted,
        before=read_number_cursor(query.cursor),
        limit=query.limit + 1,
    )
    return paged(found, query.limit, lambda last: number_cursor(last.number), view_of)


@router.post(
    "",
    **documented(
        "createPickup",
        PickupView,
        example=examples.PICKUP,
        status=201,
        body=PickupInput,
        body_example=examples.PICKUP_INPUT,
        problems=[409],
        headers=["Location"],
    ),
)
async def create(request: Request, caller: Writer, _: Annotated[NoQuery, Query()]) -> Response:
    """Ask for a pickup; a series makes its pickups two days ahead."""
    given = decoded(await request.body(), PickupInput)
    draft = draft_of(given, given.id or secrets.token_hex(8))
    if draft.plan is not None:
        await check_fences(services_of(request), caller, draft.plan)
    done = await services_of(request).pool.run(
        create_pickup, tenant_of(caller), draft, author=caller.name
    )
    if done is None:
        raise Problem(409, f"pickup {draft.id!r} is there already", field="id")
    response = await _edited(request, caller, draft.id, done)
    response.status_code = 201
    response.headers["Location"] = f"/v1/pickups/{draft.id}"
    return response


@router.get("/{id}", **documented("getPickup", PickupView, example=examples.PICKUP))
async def pickup(
    request: Request,
    caller: Caller,
    id: PickupId,  # noqa: A002 -- the name in the path, and so in problems, as below
    _: Annotated[Selected, Query()],
) -> Response:
    """One pickup, with the attempts that were in vain."""
    found = await services_of(request).pool.run(get_pickup, caller.tenant_id, id)
    if found is None:
        raise not_found(f"pickup {id!r}")
    return answer(view_of(found))


@router.patch(
    "/{id}",
    **documented(
        "reschedulePickup",
        PickupView,
        example=examples.PICKUP,
        body=PickupPatch,
        body_example=examples.PICKUP_PATCH,
        problems=[409],
    ),
)
async def reschedule(
    request: Request,
    caller: Writer,
    id: PickupId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Plan a pickup for another time."""
    given = decoded(await request.body(), PickupPatch)
    window = window_of(given.window, "window")
    done = await services_of(request).pool.run(
        reschedule_pickup, tenant_of(caller), id, window, author=caller.name
    )
    return await _edited(request, caller, id, done)


@router.post(
    "/{id}/attempts",
    **documented(
        "addPickupAttempt",
        PickupView,
        example=examples.PICKUP,
        status=201,
        body=AttemptInput,
        body_example=examples.ATTEMPT_INPUT,
        problems=[409],
    ),
)
async def attempt(
    request: Request,
    caller: Writer,
    id: PickupId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Note that somebody came in vain, and for when it is planned again."""
    made, window = attempt_of(decoded(await request.body(), AttemptInput), caller.name)
    done = await services_of(request).pool.run(note_attempt, tenant_of(caller), id, made, window)
    response = await _edited(request, caller, id, done)
    response.status_code = 201
    return response


@router.delete(
    "/{id}",
    **documented("cancelPickup", PickupView, example=examples.PICKUP, problems=[409]),
)
async def cancel(
    request: Request,
    caller: Writer,
    id: PickupId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Call a pickup off, or a series; its shipment is cancelled by itself."""
    done = await services_of(request).pool.run(
        cancel_pickup, tenant_of(caller), id, author=caller.name
    )
    return await _edited(request, caller, id, done)


async def _edited(
    request: Request, caller: Principal, id_: str, done: EditedPickup | None
) -> Response:
    if done is None:
        raise not_found(f"pickup {id_!r}")
    await announce(services_of(request), caller, done.records, done.fence_revision)
    return answer(view_of(done.pickup))
