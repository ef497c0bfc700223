"""Attachments: what was on or in what, and when; edited late as well as in time."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from msgspec import UNSET

from api.conventions.answers import Page, answer, paged
from api.conventions.cursors import number_cursor, read_number_cursor
from api.conventions.problems import Problem, not_found
from api.document.route import documented
from api.examples import nouns as examples
from api.identity.auth import Caller, Writer
from api.schemas.assets import AttachmentInput, AttachmentPatch, AttachmentQuery
from api.schemas.fences import decoded
from api.schemas.parameters import NoQuery, check_range
from api.services import services_of
from tracking.access import Principal
from tracking.custody import FOR_EVER_US, Claim, Kind, Ref
from tracking.feed import attachments_notice
from tracking.store.attachments import (
    Attached,
    AttachmentFilter,
    AttachmentView,
    attach,
    detach,
    get_attachment,
    list_attachments,
    reattach,
)
from tracking.times import to_us

router = APIRouter(prefix="/v1/attachments", tags=["attachments"])

AttachmentId = Annotated[int, Path(ge=1, le=2**63 - 1, description="The attachment's number")]
_KINDS: tuple[Kind, ...] = ("device", "asset", "shipment")


@router.get("", **documented("listAttachments", Page[AttachmentView], example=examples.ATTACHMENTS))
async def attachments(
    request: Request, caller: Caller, query: Annotated[AttachmentQuery, Query()]
) -> Response:
    """Attachments, the last made first."""
    check_range(query.start, query.end)
    named = [(kind, getattr(query, kind)) for kind in _KINDS]
    found = await services_of(request).pool.run(
        list_attachments,
        caller.tenant_id,
        AttachmentFilter(
            tuple(Ref(kind, id_) for kind, id_ in named if id_ is not None),
            query.at,
            query.start,
            query.end,
            query.removed,
        ),
        before=read_number_cursor(query.cursor),
        limit=query.limit + 1,
    )
    return paged(found, query.limit, lambda last: number_cursor(last.id))


@router.post(
    "",
    **documented(
        "attach",
        AttachmentView,
        example=examples.ATTACHMENT,
        status=201,
        body=AttachmentInput,
        body_example=examples.ATTACHMENT_INPUT,
        problems=[409],
        headers=["Location"],
    ),
)
async def create(request: Request, caller: Writer, _: Annotated[NoQuery, Query()]) -> Response:
    """Say that a load is on or in a carrier, now or at any time in the past.

    A load has one carrier at a time, and none carries itself: 409 tells what contradicts. The
    same again changes nothing.
    """
    given = decoded(await request.body(), AttachmentInput)
    if given.load.kind != "shipment" and given.carrier.kind != "asset":
        raise Problem(422, "carrier.kind: only shipments ride on devices", field="carrier.kind")
    claim = Claim(
        Ref(given.load.kind, given.load.id),
        Ref(given.carrier.kind, given.carrier.id),
        _time_us("from", given.start or datetime.now(UTC)),
        FOR_EVER_US if given.end is None else _time_us("to", given.end),
    )
    if claim.from_us >= claim.to_us:
        raise Problem(422, "to: it is not after `from`", field="to")
    done = await services_of(request).pool.run(attach, caller.tenant_id, claim, author=caller.name)
    response = await _told(request, caller, done)
    response.status_code = 201
    response.headers["Location"] = f"/v1/attachments/{done.view.id}"
    return response


@router.get("/{id}", **documented("getAttachment", AttachmentView, example=examples.ATTACHMENT))
async def attachment(
    request: Request,
    caller: Caller,
    id: AttachmentId,  # noqa: A002 -- the name in the path, and so in problems, as below
    _: Annotated[NoQuery, Query()],
) -> Response:
    """One attachment, also one that was taken back."""
    found = await services_of(request).pool.run(get_attachment, caller.tenant_id, id)
    if found is None:
        raise not_found(f"attachment {id}")
    return answer(found)


@router.patch(
    "/{id}",
    **documented(
        "editAttachment",
        AttachmentView,
        example=examples.ATTACHMENT,
        body=AttachmentPatch,
        body_example=examples.ATTACHMENT_PATCH,
        problems=[409],
    ),
)
async def edit(
    request: Request,
    caller: Writer,
    id: AttachmentId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """End an attachment, or correct when it held; shipments it touches are derived anew."""
    given = decoded(await request.body(), AttachmentPatch)
    start = None if given.start is UNSET else given.start
    end = None if given.end is UNSET else given.end
    for name, value in (("from", start), ("to", end)):
        if value is not None:
            _time_us(name, value)
    done = await services_of(request).pool.run(
        reattach, caller.tenant_id, id, (start, end, given.end is None), author=caller.name
    )
    if done is None:
        raise not_found(f"attachment {id}")
    return await _told(request, caller, done)


@router.delete("/{id}", **documented("removeAttachment", status=204))
async def delete(
    request: Request,
    caller: Writer,
    id: AttachmentId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Take back an attachment that never was. To end one, PATCH its `to`."""
    done = await services_of(request).pool.run(detach, caller.tenant_id, id, author=caller.name)
    if done is None:
        raise not_found(f"attachment {id}")
    await _told(request, caller, done)
    return Response(status_code=204)


async def _told(request: Request, caller: Principal, done: Attached) -> Response:
    if done.changed:
        notice = attachments_notice(caller.tenant, done.revision)
        await services_of(request).publisher.publish([notice])
    return answer(done.view)


def _time_us(name: str, given: datetime) -> int:
    if not 1970 <= given.year < 9999:
        raise Problem(422, f"{name}: times reach from 1970 to 9998", field=name)
    return max(to_us(given), 0)
