"""Fences: read, saved one by one or by thousands, deleted, and asked where places are."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.conventions.answers import Page, Refusal, answer, paged
from api.conventions.cursors import name_cursor, number_cursor, read_name_cursor, read_number_cursor
from api.conventions.etags import changed_meanwhile, replaced_versions, tagged, wanted_versions
from api.conventions.ids import in_path
from api.conventions.problems import Problem, not_found
from api.document.route import Content, documented
from api.examples import fences as examples
from api.examples.fleet import page_of
from api.identity.auth import Caller, Writer
from api.schemas.fences import (
    MAX_FENCES,
    BulkCounts,
    BulkInput,
    BulkQuery,
    BulkSchema,
    FenceBrief,
    FenceQuery,
    FencesSaved,
    ImportQuery,
    Located,
    LocatedAll,
    LocateInput,
    VersionQuery,
    decoded,
)
from api.schemas.parameters import NoQuery, Paged, parse_bbox
from api.services import Services, services_of
from tracking.access import Principal
from tracking.feed import fences_notice
from tracking.fence_bulk import Bulk, BulkItem, counts, read_bulk
from tracking.fence_import import read_import
from tracking.fence_input import FenceInput, read_fence
from tracking.fences import FenceDraft, FenceVersion, Saved
from tracking.shipments import RESERVED
from tracking.store.fence_edits import Edit, delete_fences, save_fences
from tracking.store.fence_reads import (
    FenceFilter,
    FenceView,
    get_fence,
    list_fences,
    list_versions,
)
from tracking.times import to_us

router = APIRouter(prefix="/v1/fences", tags=["fences"])

FenceId = Annotated[str, in_path("fence")]
_STATUS = {"exists": 409, "other_version": 412, "too_early": 422}
# Of a bulk that is refused, this many faults are told.
_MAX_ERRORS = 100


@router.get("", **documented("listFences", Page[FenceView], example=page_of(examples.FENCE)))
async def fences(
    request: Request, caller: Caller, query: Annotated[FenceQuery, Query()]
) -> Response:
    """Fences by id, in their latest versions."""
    wanted = FenceFilter(
        prefix=query.id,
        name=query.name,
        layer=query.layer,
        bbox=parse_bbox(query.bbox),
        deleted=query.deleted,
    )
    after = read_name_cursor(query.cursor)
    found = await services_of(request).pool.run(
        list_fences, caller.tenant_id, wanted, after=after, limit=query.limit + 1
    )
    return paged(found, query.limit, lambda last: name_cursor(last.id))


@router.post(
    "",
    **documented(
        "createFence",
        FenceView,
        example=examples.FENCE,
        status=201,
        body=FenceInput,
        body_example=examples.FENCE_INPUT,
        problems=[409],
        headers=["ETag", "Location"],
    ),
)
async def create(request: Request, caller: Writer, _: Annotated[NoQuery, Query()]) -> Response:
    """Make a fence; without an `id` it gets one."""
    draft = read_fence(await request.body(), fallback_id=secrets.token_hex(8))
    return await _save_one(request, caller, draft, only_over=(0,))


@router.put(
    "",
    **documented(
        "saveFences",
        FencesSaved,
        example=examples.FENCES_SAVED,
        body=BulkSchema,
        body_example=examples.FENCES_INPUT,
    ),
)
async def save_all(
    request: Request, caller: Writer, query: Annotated[BulkQuery, Query()]
) -> Response:
    """Make or change up to 10,000 fences; what is equal already stays as it is.

    If one is refused nothing is saved, and `errors` lists every fault; with `partial` the others
    are saved.
    """
    raws = decoded(await request.body(), BulkInput).fences
    # Beside the event loop, which other requests and the feed share.
    bulk = await asyncio.to_thread(read_bulk, raws, "fences")
    return await _save_bulk(request, caller, bulk, partial=query.partial)


@router.post(
    "/import",
    **documented(
        "importFences",
        FencesSaved,
        example=examples.FENCES_SAVED,
        body_also=examples.FENCES_FILES,
    ),
)
async def import_file(
    request: Request, caller: Writer, query: Annotated[ImportQuery, Query()]
) -> Response:
    """Make or change up to 10,000 fences out of GeoJSON, TopoJSON, KML, KMZ or WKT.

    As with many at once; fences without an id get one of their name, the same one each time.
    """
    body = await request.body()
    bulk = await asyncio.to_thread(
        read_import,
        body,
        name="the body",
        format_name=query.format,
        prefix=query.prefix,
        layer=query.layer,
    )
    if len(bulk) > MAX_FENCES:
        raise Problem(422, f"{len(bulk):,} fences: send at most {MAX_FENCES:,} at once")
    since_us = None if query.effective_from is None else to_us(query.effective_from)
    return await _save_bulk(
        request,
        caller,
        bulk,
        partial=query.partial,
        effective_from_us=since_us,
        dry_run=query.dry_run,
    )


@router.post(
    "/locate",
    **documented(
        "locate",
        LocatedAll,
        example=examples.LOCATED,
        body=LocateInput,
        body_example=examples.LOCATE_INPUT,
    ),
)
async def locate(request: Request, caller: Caller, _: Annotated[NoQuery, Query()]) -> Response:
    """The fences each place is in now, borders included, whoever they apply to, and whenever."""
    points = decoded(await request.body(), LocateInput).points
    found = await services_of(request).books.locate(caller.tenant_id, points)
    items = [
        Located(lon, lat, [_brief(f) for f in fences if not f.id.startswith(RESERVED)])
        for (lon, lat), fences in zip(points, found.fences, strict=True)
    ]
    return answer(LocatedAll(items, found.revision))


@router.get("/{id}", **documented("getFence", FenceView, example=examples.FENCE, headers=["ETag"]))
async def fence(
    request: Request,
    caller: Caller,
    id: FenceId,  # noqa: A002 -- the name in the path, and so in problems, as below
    query: Annotated[VersionQuery, Query()],
) -> Response:
    """One fence in its latest version, or in another; one that was deleted says when."""
    found = await services_of(request).pool.run(get_fence, caller.tenant_id, id, query.version)
    if found is None:
        version = "" if query.version is None else f"version {query.version} of "
        raise not_found(f"{version}fence {id!r}")
    return tagged(answer(found), found.version)


@router.put(
    "/{id}",
    **documented(
        "saveFence",
        FenceView,
        example=examples.FENCE,
        body=FenceInput,
        body_example=examples.FENCE_INPUT,
        otherwise={201: Content(FenceView, examples.FENCE)},
        problems=[412],
        headers=["ETag"],
    ),
)
async def save(
    request: Request,
    caller: Writer,
    id: FenceId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Make or change a fence: its next version. With `If-Match` only over the version it names."""
    draft = read_fence(await request.body(), id_=id)

    async def now() -> int:
        found = await services_of(request).pool.run(get_fence, caller.tenant_id, id)
        return 0 if found is None or found.deleted_at is not None else found.version

    only_over = await replaced_versions(request, now)
    return await _save_one(request, caller, draft, only_over=only_over)


@router.delete("/{id}", **documented("deleteFence", status=204, problems=[409, 412]))
async def delete(
    request: Request,
    caller: Writer,
    id: FenceId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """End a fence now: open visits are closed, its versions stay, and a PUT revives it."""
    if id.startswith(RESERVED):
        raise Problem(409, f"fence {id!r} is a shipment's: it ends with it", field="id")
    services = services_of(request)
    only_over = wanted_versions(request)
    gone = await services.pool.run(delete_fences, caller.tenant_id, [id], only_over=only_over)
    if not gone.ids:
        there = await services.pool.run(get_fence, caller.tenant_id, id)
        if there is None or there.deleted_at is not None:
            raise not_found(f"fence {id!r}")
        raise changed_meanwhile(f"fence {id!r}", there.version)
    await _notify(services, caller, gone.revision)
    return Response(status_code=204)


@router.get(
    "/{id}/versions",
    **documented("listFenceVersions", Page[FenceView], example=page_of(examples.FENCE)),
)
async def versions(
    request: Request,
    caller: Caller,
    id: FenceId,  # noqa: A002
    query: Annotated[Paged, Query()],
) -> Response:
    """All versions of a fence, the latest first."""
    before = read_number_cursor(query.cursor)
    found = await services_of(request).pool.run(
        list_versions, caller.tenant_id, id, before=before, limit=query.limit + 1
    )
    if not found and before is None:
        raise not_found(f"fence {id!r}")
    return paged(found, query.limit, lambda last: number_cursor(last.version))


async def _save_bulk(
    request: Request,
    caller: Principal,
    bulk: Bulk,
    *,
    partial: bool,
    effective_from_us: int | None = None,
    dry_run: bool = False,
) -> Response:
    """Save many fences and tell what became of each.

    Raises:
        Problem: 422, one was refused, so nothing was saved.
    """
    services = services_of(request)
    if bulk.faults and not partial:
        edit = Edit(0, [Saved(draft.id, "held_back", 0) for draft in bulk.drafts])
    else:
        edit = await services.pool.run(
            save_fences,
            caller.tenant_id,
            bulk.drafts,
            author=caller.name,
            effective_from_us=effective_from_us,
            partial=partial,
            dry_run=dry_run,
        )
    items = bulk.told(edit.saved)
    if not partial:
        _refuse_all(items)
    if not dry_run and any(item.outcome in {"created", "changed"} for item in items):
        await _notify(services, caller, edit.revision)
    return answer(_saved(items, edit.revision))


def _saved(items: Sequence[BulkItem], revision: int) -> FencesSaved:
    return FencesSaved(
        [item for item in items if item.outcome != "refused"],
        [
            Refusal(item.id, item.detail or "", item.field)
            for item in items
            if item.outcome == "refused"
        ],
        BulkCounts(**counts(items)),
        revision,
    )


def _refuse_all(items: Sequence[BulkItem]) -> None:
    refused = [item for item in items if item.outcome == "refused"]
    if not refused:
        return
    first = refused[0]
    errors = [
        {"id": item.id, "field": item.field, "detail": item.detail}
        for item in refused[:_MAX_ERRORS]
    ]
    more = f" (and {len(refused) - 1:,} more refused)" if len(refused) > 1 else ""
    raise Problem(422, f"nothing was saved: {first.detail}{more}", field=first.field, errors=errors)


async def _save_one(
    request: Request, caller: Principal, draft: FenceDraft, *, only_over: tuple[int, ...] | None
) -> Response:
    services = services_of(request)
    guarded = replace(draft, only_over=only_over)
    edit = await services.pool.run(save_fences, caller.tenant_id, [guarded], author=caller.name)
    (saved,) = edit.saved
    if saved.reason == "exists" and request.method == "PUT":
        raise changed_meanwhile(f"fence {saved.id!r}", saved.version)
    if saved.reason is not None:
        raise Problem(_STATUS[saved.reason], saved.detail or "", field=saved.field)
    if saved.outcome != "unchanged":
        await _notify(services, caller, edit.revision)
    found = await services.pool.run(get_fence, caller.tenant_id, saved.id, saved.version)
    if found is None:
        raise not_found(f"fence {saved.id!r}")
    response = tagged(answer(found), found.version)
    if saved.outcome == "created":
        response.status_code = 201
        response.headers["Location"] = f"/v1/fences/{saved.id}"
    return response


async def _notify(services: Services, caller: Principal, revision: int) -> None:
    """Tell the workers at once what they would notice within a second."""
    await services.publisher.publish([fences_notice(caller.tenant, revision)])


def _brief(fence: FenceVersion) -> FenceBrief:
    return FenceBrief(fence.id, fence.name, fence.version, fence.options.layer)
