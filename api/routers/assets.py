"""Assets: whatever carries and is carried; where each is and was."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.conventions.answers import Page, answer, paged
from api.conventions.cursors import (
    name_cursor,
    read_name_cursor,
    read_time_cursor,
    time_cursor,
)
from api.conventions.etags import changed_meanwhile, tagged, wanted_versions
from api.conventions.ids import in_path
from api.conventions.problems import Problem, not_found
from api.document.route import documented
from api.examples import nouns as examples
from api.identity.auth import Caller, Writer
from api.schemas.assets import (
    AssetInput,
    AssetPatch,
    AssetQuery,
    AtQuery,
    PositionAnswer,
    TrackPage,
    TrackQuery,
    carried_by,
    position_answer,
)
from api.schemas.fences import decoded
from api.schemas.parameters import NoQuery, check_range
from api.services import Services, services_of
from tracking.custody import Custody, Ref
from tracking.fence_input import stored_json
from tracking.store.assets import (
    AssetEdit,
    AssetFilter,
    AssetView,
    create_asset,
    delete_asset,
    edit_asset,
    get_asset,
    list_assets,
)
from tracking.store.custody import custody_of, last_position, list_track
from tracking.store.positions import PositionKey
from tracking.times import to_us

router = APIRouter(prefix="/v1/assets", tags=["assets"])

AssetId = Annotated[str, in_path("asset")]
_DAY = timedelta(days=1)
# A scan of more would take longer than anybody waits; ask for one part after the other.
_LONGEST = timedelta(days=366)


@router.get("", **documented("listAssets", Page[AssetView], example=examples.ASSETS))
async def assets(
    request: Request, caller: Caller, query: Annotated[AssetQuery, Query()]
) -> Response:
    """Assets by id."""
    found = await services_of(request).pool.run(
        list_assets,
        caller.tenant_id,
        AssetFilter(query.id, query.kind, query.name),
        after=read_name_cursor(query.cursor),
        limit=query.limit + 1,
    )
    return paged(found, query.limit, lambda last: name_cursor(last.id))


@router.post(
    "",
    **documented(
        "createAsset",
        AssetView,
        example=examples.ASSET,
        status=201,
        body=AssetInput,
        body_example=examples.ASSET_INPUT,
        problems=[409],
        headers=["Location", "ETag"],
    ),
)
async def create(request: Request, caller: Writer, _: Annotated[NoQuery, Query()]) -> Response:
    """Make an asset; without an `id` it gets one."""
    given = decoded(await request.body(), AssetInput)
    id_ = given.id or secrets.token_hex(8)
    made = AssetEdit(given.kind, given.name or id_, stored_json(given.attrs, "attrs"))
    asset = await services_of(request).pool.run(
        create_asset, caller.tenant_id, id_, made, author=caller.name
    )
    if asset is None:
        raise Problem(409, f"asset {id_!r} is there already: PATCH changes it", field="id")
    response = answer(asset)
    response.status_code = 201
    response.headers["Location"] = f"/v1/assets/{id_}"
    return tagged(response, asset.version)


@router.get("/{id}", **documented("getAsset", AssetView, example=examples.ASSET, headers=["ETag"]))
async def asset(
    request: Request,
    caller: Caller,
    id: AssetId,  # noqa: A002 -- the name in the path, and so in problems, as below
    _: Annotated[NoQuery, Query()],
) -> Response:
    """One asset."""
    found = await services_of(request).pool.run(get_asset, caller.tenant_id, id)
    if found is None:
        raise not_found(f"asset {id!r}")
    return tagged(answer(found), found.version)


@router.patch(
    "/{id}",
    **documented(
        "editAsset",
        AssetView,
        example=examples.ASSET,
        body=AssetPatch,
        body_example=examples.ASSET_PATCH,
        problems=[412],
        headers=["ETag"],
    ),
)
async def edit(
    request: Request,
    caller: Writer,
    id: AssetId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Change an asset; what is left out stays. With `If-Match` only over the version it names."""
    given = decoded(await request.body(), AssetPatch)
    attrs = None if given.attrs is None else stored_json(given.attrs, "attrs")
    pool = services_of(request).pool
    found = await pool.run(
        edit_asset,
        caller.tenant_id,
        id,
        AssetEdit(given.kind, given.name, attrs),
        author=caller.name,
        only_over=wanted_versions(request),
    )
    if found is None:
        there = await pool.run(get_asset, caller.tenant_id, id)
        if there is None:
            raise not_found(f"asset {id!r}")
        raise changed_meanwhile(f"asset {id!r}", there.version)
    return tagged(answer(found), found.version)


@router.delete("/{id}", **documented("deleteAsset", status=204, problems=[409]))
async def delete(
    request: Request,
    caller: Writer,
    id: AssetId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Retire an asset to which nothing is attached; where it was stays known."""
    gone = await services_of(request).pool.run(
        delete_asset, caller.tenant_id, id, author=caller.name
    )
    if not gone:
        raise not_found(f"asset {id!r}")
    return Response(status_code=204)


@router.get(
    "/{id}/position",
    **documented("getAssetPosition", PositionAnswer, example=examples.POSITION_ANSWER),
)
async def position(
    request: Request,
    caller: Caller,
    id: AssetId,  # noqa: A002
    query: Annotated[AtQuery, Query()],
) -> Response:
    """Where an asset was last seen at a moment: by a device on it, else by its carrier's."""
    at = query.at or datetime.now(UTC)
    services = services_of(request)
    custody = await _custody(services, caller.tenant_id, id)
    parts = custody.segments(Ref("asset", id), 0, to_us(at) + 1)
    found = await services.pool.run(last_position, caller.tenant_id, parts)
    # Who carries it is told as it is known now, not cut at the moment asked for.
    (*_, last) = (s for s in custody.segments(Ref("asset", id), 0) if s.from_us <= to_us(at))
    return answer(position_answer(at, last, found))


@router.get("/{id}/track", **documented("getAssetTrack", TrackPage, example=examples.TRACK_PAGE))
async def track(
    request: Request,
    caller: Caller,
    id: AssetId,  # noqa: A002
    query: Annotated[TrackQuery, Query()],
) -> Response:
    """The ok fixes of whatever told where an asset was, oldest first, and who that was when."""
    start, end = track_range(query)
    services = services_of(request)
    custody = await _custody(services, caller.tenant_id, id)
    parts = custody.segments(Ref("asset", id), to_us(start), to_us(end))
    found = await services.pool.run(
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


def track_range(query: TrackQuery) -> tuple[datetime, datetime]:
    """The time a track is asked for.

    Raises:
        Problem: 422, it is no time, or too long.
    """
    end = query.end or datetime.now(UTC)
    start = query.start or end - _DAY
    check_range(start, end)
    if end - start > _LONGEST:
        raise Problem(422, "from: a track is told for a year at most", field="from")
    return start, end


async def _custody(services: Services, tenant_id: int, id_: str) -> Custody:
    found = await services.pool.run(custody_of, tenant_id, [Ref("asset", id_)])
    if found is None:
        raise not_found(f"asset {id_!r}")
    return found
