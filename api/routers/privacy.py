"""Privacy: what is forgotten on request, and how long a tenant keeps its data."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from api.conventions.answers import Page, answer, paged
from api.conventions.cursors import number_cursor, read_number_cursor
from api.conventions.problems import Problem, not_found
from api.document.route import documented
from api.examples.fleet import page_of
from api.exports.desk import File
from api.identity.auth import Admin
from api.routers.devices import DeviceName
from api.routers.users import UserId
from api.schemas.fences import decoded
from api.schemas.parameters import NoQuery, Paged
from api.schemas.privacy import (
    DOSSIER_OF_DEVICE,
    DOSSIER_OF_PERSON,
    ERASURE,
    ERASURE_INPUT,
    RETENTION,
    ErasureInput,
    Lines,
)
from api.services import services_of
from tracking.store.connection import Connection
from tracking.store.devices import devices_of
from tracking.store.dossier import device_lines, person_lines
from tracking.store.erasures import (
    Erasure,
    erase_device,
    erase_person,
    get_erasure,
    list_erasures,
)
from tracking.store.retention import Retention, get_retention, put_retention
from tracking.store.users import get_user

router = APIRouter(prefix="/v1/privacy", tags=["privacy"])


@router.get("/erasures", **documented("listErasures", Page[Erasure], example=page_of(ERASURE)))
async def erasures(request: Request, caller: Admin, query: Annotated[Paged, Query()]) -> Response:
    """What was asked to be forgotten and how far that is, the latest first."""
    found = await services_of(request).pool.run(
        list_erasures,
        caller.tenant_id,
        before=read_number_cursor(query.cursor),
        limit=query.limit + 1,
    )
    return paged(found, query.limit, lambda last: number_cursor(last.number))


@router.post(
    "/erasures",
    **documented(
        "erase",
        Erasure,
        status=202,
        example=ERASURE,
        body=ErasureInput,
        body_example=ERASURE_INPUT,
        problems=(404, 409),
        headers=("Location",),
    ),
)
async def erase(request: Request, caller: Admin, _: Annotated[NoQuery, Query()]) -> Response:
    """Forget a device or a person. This cannot be taken back.

    A device is gone from every answer at once, its history within minutes; one that goes on
    sending is registered anew, without its past. A person's account is gone at once; what they did
    stays, under a name that tells nobody who it was.
    """
    given = decoded(await request.body(), ErasureInput)
    pool = services_of(request).pool
    if (given.device is None) == (given.user is None):
        raise Problem(422, "device: give either `device` or `user`", field="device")
    if given.device is not None:
        asked = await pool.run(erase_device, caller.tenant_id, given.device, caller.name)
    else:
        asked = await pool.run(erase_person, caller.tenant_id, given.user or "", caller.name)
    if asked is None:
        raise not_found(f"device {given.device!r}" if given.device else f"user {given.user!r}")
    response = answer(asked)
    response.status_code = 202
    response.headers["Location"] = f"/v1/privacy/erasures/{asked.id}"
    return response


@router.get("/erasures/{id}", **documented("getErasure", Erasure, example=ERASURE))
async def erasure(
    request: Request,
    caller: Admin,
    id: UUID,  # noqa: A002 -- the name in the path, and so in problems
    _: Annotated[NoQuery, Query()],
) -> Response:
    """One erasure; `finished_at` tells when nothing was left."""
    found = await services_of(request).pool.run(get_erasure, caller.tenant_id, id)
    if found is None:
        raise not_found(f"erasure {id}")
    return answer(found)


@router.get("/retention", **documented("getRetention", Retention, example=RETENTION))
async def retention(request: Request, caller: Admin, _: Annotated[NoQuery, Query()]) -> Response:
    """How long the tenant keeps what."""
    return answer(await services_of(request).pool.run(get_retention, caller.tenant_id))


@router.put(
    "/retention",
    **documented(
        "saveRetention",
        Retention,
        example=RETENTION,
        body=Retention,
        body_example=RETENTION,
    ),
)
async def save(request: Request, caller: Admin, _: Annotated[NoQuery, Query()]) -> Response:
    """Choose anew how long to keep what; what is older goes within minutes and for good.

    Readings and events are kept for as long as late ones may come, at least.
    """
    wanted = decoded(await request.body(), Retention)
    services = services_of(request)
    least_days = int(services.settings.late_horizon_h // 24) + 1
    for name in ("positions_days", "measurements_days", "tag_reads_days", "events_days"):
        days = getattr(wanted, name)
        if days is not None and days < least_days:
            raise Problem(
                422,
                f"{name}: at least {least_days}, late fixes need what came before them",
                field=name,
            )
    await services.pool.run(put_retention, caller.tenant_id, wanted)
    return answer(wanted)


@router.get("/devices/{name}", **DOSSIER_OF_DEVICE)
async def device(
    request: Request, caller: Admin, name: DeviceName, _: Annotated[NoQuery, Query()]
) -> Response:
    """All that is held about a device, a line of JSON for each row of each table."""
    services = services_of(request)
    ids = await services.pool.run(devices_of, caller.tenant_id, names=(name,), group=None)
    if name not in ids:
        raise not_found(f"device {name!r}")

    def rows(conn: Connection) -> AsyncGenerator[Lines, None]:
        return _batches(device_lines(conn, caller.tenant_id, ids[name], name))

    file = File("privacy", {}, "ndjson", f"device-{name}", {"device": name})
    return await services.exports.answer(request, caller, file, rows)


@router.get("/users/{id}", **DOSSIER_OF_PERSON)
async def person(
    request: Request,
    caller: Admin,
    id: UserId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """All that is held about a user: the account, sessions, and what they did."""
    services = services_of(request)
    found = await services.pool.run(get_user, caller.tenant_id, id)
    if found is None:
        raise not_found(f"user {id}")

    def rows(conn: Connection) -> AsyncGenerator[Lines, None]:
        return _batches(person_lines(conn, caller.tenant_id, id, found.email))

    file = File("privacy", {}, "ndjson", f"user-{id}", {"user": id})
    return await services.exports.answer(request, caller, file, rows)


async def _batches(lines: AsyncGenerator[bytes, None]) -> AsyncGenerator[Lines, None]:
    async with aclosing(lines):
        async for some in lines:
            yield Lines(some)
