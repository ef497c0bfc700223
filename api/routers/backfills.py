"""Histories brought in by hand: kept at once, worked in by the monitor."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.requests import ClientDisconnect

from api.conventions.answers import Page, answer, page
from api.conventions.cursors import read_time_cursor, time_cursor
from api.conventions.problems import Problem, not_found
from api.document.route import NDJSON, Content, documented
from api.examples import fleet as examples
from api.identity.auth import Caller, Writer
from api.schemas.parameters import BackfillQuery, NoQuery, Paged
from api.services import services_of
from tracking.access import Principal
from tracking.backfills import Cut, Cutter
from tracking.store.backfills import (
    Backfill,
    BackfillKey,
    add_part,
    begin_backfill,
    drop_backfill,
    get_backfill,
    list_backfills,
    queue_backfill,
)
from tracking.store.pool import ReadPool

router = APIRouter(prefix="/v1/backfill", tags=["backfills"])

BackfillId = Annotated[UUID, Path(description="The backfill's id")]
_LINES = Content(None, '{"device":"van-7","t":"2026-03-08T06:30:00Z","lon":5.1,"lat":52.1}', NDJSON)


@router.post(
    "",
    **documented(
        "createBackfill",
        Backfill,
        example=examples.BACKFILL,
        status=202,
        body_also=[_LINES],
        headers=["Location"],
        problems=[413],
    ),
)
async def create(
    request: Request, caller: Writer, query: Annotated[BackfillQuery, Query()]
) -> Response:
    """Bring in a history, up to 64 MiB: lines of JSON, each with `device` and what it sent.

    A line has the members of a position, of a sensor's or of a tag reading as devices send them, or
    `pos`, `sensor` and `tag` with one or an array of them. However old they are, they are stored
    and folded where they belong; events they bring about have `origin` `backfill`, and raise no
    alerts unless `alerts` asks for it. The same content again is the same backfill.
    """
    pool = services_of(request).pool
    id_ = await pool.run(begin_backfill, caller.tenant_id, caller.name, alerts=query.alerts)
    cutter = Cutter(alerts=query.alerts)
    try:
        await _receive(request, pool, caller, id_, cutter)
        id_, _ = await pool.run(
            queue_backfill, caller.tenant_id, id_, lines=cutter.lines, digest=cutter.digest
        )
    except BaseException:
        await pool.run(drop_backfill, caller.tenant_id, id_)
        raise
    return await _told(request, caller, id_, status=202)


async def _receive(
    request: Request, pool: ReadPool, caller: Principal, id_: UUID, cutter: Cutter
) -> None:
    """Keep the body as it comes; of 64 MiB a part is in memory."""

    async def keep(cut: Cut | None) -> None:
        if cut is not None:
            await pool.run(add_part, caller.tenant_id, id_, **cut._asdict())

    try:
        async for piece in request.stream():
            await keep(cutter.feed(piece))
    except ClientDisconnect:
        raise Problem(422, "body: it ended early", field="body") from None
    await keep(cutter.end())
    if not cutter.lines:
        raise Problem(422, "body: it is empty; send lines of JSON", field="body")


@router.get(
    "",
    **documented("listBackfills", Page[Backfill], example=examples.page_of(examples.BACKFILL)),
)
async def backfills(request: Request, caller: Caller, query: Annotated[Paged, Query()]) -> Response:
    """Backfills, the latest first; what was refused is told of each by itself."""
    found = await services_of(request).pool.run(
        list_backfills,
        caller.tenant_id,
        before=read_time_cursor(query.cursor, BackfillKey),
        limit=query.limit + 1,
    )
    items = found[: query.limit]
    more = None
    if len(found) > len(items):
        more = time_cursor(BackfillKey(items[-1].created_at, UUID(items[-1].id)))
    return page(items, more)


@router.get("/{id}", **documented("getBackfill", Backfill, example=examples.BACKFILL))
async def backfill(
    request: Request,
    caller: Caller,
    id: BackfillId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """How far one is, and what became of its readings."""
    return await _told(request, caller, id)


async def _told(request: Request, caller: Principal, id_: UUID, *, status: int = 200) -> Response:
    found = await services_of(request).pool.run(get_backfill, caller.tenant_id, id_)
    if found is None:
        raise not_found(f"backfill {id_}")
    told = answer(found)
    told.status_code = status
    if status != 200:
        told.headers["Location"] = f"/v1/backfill/{id_}"
    return told
