"""Share links: made and revoked by the tenant, followed by whoever has one."""

import hashlib
import secrets
from pathlib import Path as FilePath
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from api.conventions.answers import answer
from api.conventions.problems import Problem, not_found
from api.document.route import documented
from api.examples import nouns as examples
from api.identity.auth import Caller, Writer
from api.routers.shipments import ShipmentId, as_of_now
from api.schemas.estimates import expected_of
from api.schemas.fences import decoded
from api.schemas.parameters import NoQuery
from api.schemas.share import MadeLink, ShareInput, ShareLinks, expiry_of
from api.services import services_of
from tracking.custody import Custody, Ref
from tracking.sharing import LastSeen, SharedShipment, shared
from tracking.store.acting import SYSTEM, Mandate, acting
from tracking.store.custody import custody_of, last_position
from tracking.store.share_links import (
    LinkDraft,
    links_of,
    make_link,
    open_link,
    revoke_link,
)
from tracking.store.shipments import StoredShipment, get_shipment
from tracking.times import to_us

router = APIRouter(tags=["share-links"])

# Beside the packages in a checkout, as the map.
PAGE_DIR = FilePath(__file__).parents[2] / "dashboards" / "track"
_TYPES = {"track.css": "text/css", "track.js": "text/javascript"}
# Whoever guesses, comes late or was shut out learns one and the same.
_ENDED = "this link is unknown or has ended"
_PRIVATE = {"Cache-Control": "no-store", "X-Robots-Tag": "noindex"}


@router.post(
    "/v1/shipments/{id}/share",
    **documented(
        "shareShipment",
        MadeLink,
        example=examples.MADE_LINK,
        status=201,
        body=ShareInput,
        body_example=examples.SHARE_INPUT,
        body_required=False,
        headers=["Location"],
    ),
)
async def share(
    request: Request,
    caller: Writer,
    id: ShipmentId,  # noqa: A002 -- the name in the path, and so in problems, as below
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Make a link that shows one shipment to whoever has it; its token is shown this once."""
    given = decoded(await request.body() or b"{}", ShareInput)
    stored = await _found(request, caller.tenant_id, id)
    last = len(stored.plan.stops) - 1
    if given.stop is not None and given.stop > last:
        raise Problem(422, f"stop: there are {last + 1}, from 0", field="stop")
    token = secrets.token_urlsafe(32)
    stop = last if given.stop is None else given.stop
    link = await services_of(request).pool.run(
        make_link,
        caller.tenant_id,
        stored.number,
        LinkDraft(_digest(token), stop, given.stops_away, expiry_of(given)),
        author=caller.name,
    )
    made = MadeLink(**msgspec.structs.asdict(link), token=token, path=f"/track/{token}")
    response = answer(made)
    response.status_code = 201
    response.headers["Location"] = f"/v1/share/{token}"
    response.headers["Cache-Control"] = "no-store"
    return response


@router.get(
    "/v1/shipments/{id}/share",
    **documented("listShareLinks", ShareLinks, example=examples.SHARE_LINKS),
)
async def links(
    request: Request,
    caller: Caller,
    id: ShipmentId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """The links to a shipment, ended ones too; their tokens are not kept."""
    stored = await _found(request, caller.tenant_id, id)
    found = await services_of(request).pool.run(links_of, caller.tenant_id, stored.number)
    return answer(ShareLinks(found, None))


@router.delete("/v1/shipments/{id}/share/{link}", **documented("revokeShareLink", status=204))
async def revoke(
    request: Request,
    caller: Writer,
    id: ShipmentId,  # noqa: A002
    link: Annotated[int, Path(ge=1, le=2**63 - 1, description="The link's number")],
    _: Annotated[NoQuery, Query()],
) -> Response:
    """End a link at once."""
    stored = await _found(request, caller.tenant_id, id)
    gone = await services_of(request).pool.run(revoke_link, caller.tenant_id, stored.number, link)
    if not gone:
        raise not_found(f"share link {link} of shipment {id!r}")
    return Response(status_code=204)


@router.get(
    "/v1/share/{token}",
    **documented("openShareLink", SharedShipment, example=examples.SHARED, problems=[422]),
)
async def follow(
    request: Request,
    token: Annotated[str, Path(description="The token of a share link")],
    _: Annotated[NoQuery, Query()],
) -> Response:
    """The one shipment that a link shows, without a credential: the link is one."""
    services = services_of(request)
    # Whose shipment it is, is what is asked: no tenant can be named yet.
    with acting(SYSTEM):
        opened = await services.pool.run(open_link, _digest(token))
    if opened is None:
        raise Problem(404, _ENDED, headers=_PRIVATE)
    tenant_id, id_, link = opened
    with acting(Mandate.reader(tenant_id)):
        stored = await _found(request, tenant_id, id_)
        as_of = as_of_now(services)
        ref = Ref("shipment", id_)
        custody = await services.pool.run(custody_of, tenant_id, [ref]) or Custody([])
        parts = custody.segments(ref, 0, to_us(as_of.now) + 1)
        last = await services.pool.run(last_position, tenant_id, parts)
    seen = None
    if last is not None:
        seen = LastSeen(last.position.lon, last.position.lat, last.position.fix_time)
    response = answer(
        shared(
            stored.plan, stored.record, link, seen, expected_of(stored, as_of),
            now=as_of.now, stale_after=as_of.stale_after,
        )
    )  # fmt: skip
    response.headers.update(_PRIVATE)
    return response


def page_routes(folder: FilePath = PAGE_DIR) -> APIRouter:
    """The public page of share links, at `/track/<token>`."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/track/assets/{name}")
    async def asset(name: str) -> Response:
        if name not in _TYPES:
            raise HTTPException(404)
        return _file(folder / name, _TYPES[name])

    # The same page whatever the token: what it opens, the page asks for itself.
    @routes.get("/track/{token}")
    async def page(token: str) -> Response:
        del token
        response = _file(folder / "index.html", "text/html")
        response.headers["X-Robots-Tag"] = "noindex"
        return response

    return routes


def _file(path: FilePath, media_type: str) -> Response:
    if not path.is_file():
        raise HTTPException(404)
    return FileResponse(path, media_type=media_type, headers={"Cache-Control": "no-cache"})


async def _found(request: Request, tenant_id: int, id_: str) -> StoredShipment:
    stored = await services_of(request).pool.run(get_shipment, tenant_id, id_)
    if stored is None:
        raise not_found(f"shipment {id_!r}")
    return stored


def _digest(token: str) -> bytes:
    # 256 random bits: nothing to brute-force, so no slow hash is needed.
    return hashlib.sha256(token.encode()).digest()
