"""Attachments: made, corrected and ended, each edit seen by the shipments it touches."""

from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from psycopg import sql

from tracking.custody import FOR_EVER_US, Claim, Custody, Kind, Ref
from tracking.errors import Conflict, InputError
from tracking.store.asking import rows_where
from tracking.store.connection import Connection
from tracking.store.custody import CARRIER, LOAD, NAMED, claims_above, moment
from tracking.times import Moment, from_us, iso, to_us

# Whoever edits a tenant's attachments waits here for the others: a circle of two claims could
# else be closed by two that do not see each other. Overlaps have the table's own lock as well.
_LOCK_SPACE = 0x6174  # "at"

_SELECT = (
    f"SELECT a.id, a.load_kind, {LOAD}, a.carrier_kind, {CARRIER}, a.valid_from, a.valid_to, "
    f"a.created_at, a.created_by, a.updated_at, a.updated_by, a.removed_at {NAMED}"
)

# What is attachable now; `FOR SHARE` keeps it from being deleted meanwhile.
_LIVE = {
    "device": "SELECT id FROM device WHERE tenant_id = %s AND name = %s FOR KEY SHARE",
    "asset": (
        "SELECT number FROM asset WHERE tenant_id = %s AND id = %s AND deleted_at IS NULL FOR SHARE"
    ),
    "shipment": ("SELECT number FROM shipment WHERE tenant_id = %s AND id = %s FOR KEY SHARE"),
}

# From what an attachment moves down to the shipments in it, whenever they were: deriving one anew
# that is not concerned changes nothing. In one order, as whoever else marks them.
_TOUCH = """
WITH RECURSIVE down(kind, number) AS (
    SELECT %(kind)s::text, %(number)s::bigint
    UNION
    SELECT a.load_kind, a.load_number FROM down
    JOIN attachment a ON a.carrier_kind = down.kind AND a.carrier_number = down.number
    WHERE a.load_kind <> 'device' AND a.tenant_id = %(tenant_id)s),
touched AS (
    SELECT s.number FROM shipment s WHERE s.tenant_id = %(tenant_id)s
        AND s.number IN (SELECT number FROM down WHERE kind = 'shipment')
    ORDER BY s.number FOR UPDATE)
UPDATE shipment s SET dirty = true FROM touched WHERE s.number = touched.number
"""


class RefView(msgspec.Struct, frozen=True):
    """One end of an attachment."""

    kind: str
    id: str


class AttachmentView(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """An attachment as the api tells it; `from` and `to` are device time."""

    id: int
    load: RefView
    carrier: RefView
    start: Moment
    end: Moment | None
    created_at: Moment
    created_by: str | None
    updated_at: Moment
    updated_by: str | None
    removed_at: Moment | None


class Attached(NamedTuple):
    """An attachment after an edit, whether that changed anything, and the tenant's revision."""

    view: AttachmentView
    changed: bool
    revision: int


class AttachmentFilter(NamedTuple):
    """Which attachments; None leaves that question open. `at` and the rest are device time."""

    ends: tuple[Ref, ...] = ()  # those with each of these at one end
    at: datetime | None = None
    start: datetime | None = None
    end: datetime | None = None
    removed: bool = False


async def list_attachments(
    conn: Connection, tenant_id: int, wanted: AttachmentFilter, *, before: int | None, limit: int
) -> list[AttachmentView]:
    """The last made first, those with ids below `before`."""
    parts = [
        "a.tenant_id = %(tenant_id)s",
        "a.removed_at IS NOT NULL" if wanted.removed else "a.removed_at IS NULL",
    ]
    values: dict[str, object] = {"tenant_id": tenant_id, "limit": limit}
    for i, ref in enumerate(wanted.ends):
        carrier = f" OR a.carrier_kind = %(kind{i})s AND {CARRIER} = %(id{i})s"
        parts.append(f"(a.load_kind = %(kind{i})s AND {LOAD} = %(id{i})s{carrier})")
        values |= {f"kind{i}": ref.kind, f"id{i}": ref.id}
    asked = {
        "tstzrange(a.valid_from, a.valid_to) @> %(at)s::timestamptz": ("at", wanted.at),
        "coalesce(a.valid_to, 'infinity') > %(start)s": ("start", wanted.start),
        "a.valid_from < %(end)s": ("end", wanted.end),
        "a.id < %(before)s": ("before", before),
    }
    found = await rows_where(
        conn, _SELECT, parts, asked, order="ORDER BY a.id DESC LIMIT %(limit)s", values=values
    )
    return [_view(row) for row in found]


async def get_attachment(conn: Connection, tenant_id: int, id_: int) -> AttachmentView | None:
    """One attachment, a removed one too."""
    found = await conn.execute(
        (_SELECT + "WHERE a.tenant_id = %s AND a.id = %s").encode(), (tenant_id, id_)
    )
    row = await found.fetchone()
    return None if row is None else _view(row)


async def attach(conn: Connection, tenant_id: int, claim: Claim, *, author: str | None) -> Attached:
    """Record that a load is on or in a carrier. The very same claim again changes nothing.

    Raises:
        InputError: there is no such load or carrier; the field is named.
        Conflict: the load has a carrier at that time, or would carry itself.
    """
    async with conn.transaction():
        revision = await _locked(conn, tenant_id)
        load = await _live(conn, tenant_id, claim.load, "load.id")
        carrier = await _live(conn, tenant_id, claim.carrier, "carrier.id")
        other = await _overlapping(conn, tenant_id, claim, load)
        if other is not None:
            if _claim(other) == claim:
                return Attached(other, changed=False, revision=revision)
            raise _taken(other)
        await _refuse_loops(conn, tenant_id, claim, carrier)
        found = await conn.execute(
            "INSERT INTO attachment (tenant_id, load_kind, load_number, carrier_kind, "
            "carrier_number, valid_from, valid_to, created_by, updated_by) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id",
            (tenant_id, claim.load.kind, load, claim.carrier.kind, carrier, *_span(claim),
             author, author),
        )  # fmt: skip
        (id_,) = await found.fetchone() or (0,)
        return await _edited(conn, tenant_id, id_)


async def reattach(
    conn: Connection,
    tenant_id: int,
    id_: int,
    span: tuple[datetime | None, datetime | None, bool],
    *,
    author: str | None,
) -> Attached | None:
    """Correct when an attachment holds, or end it: (from, to, whether it is to have no end).

    None of both leaves it. None when there is no such attachment.

    Raises:
        InputError: it would end before it starts.
        Conflict: as `attach`.
    """
    start, end, endless = span
    async with conn.transaction():
        revision = await _locked(conn, tenant_id)
        known = await get_attachment(conn, tenant_id, id_)
        if known is None or known.removed_at is not None:
            return None
        claim = _claim(known)
        if start is not None:
            claim = claim._replace(from_us=to_us(start))
        if end is not None or endless:
            claim = claim._replace(to_us=FOR_EVER_US if end is None else to_us(end))
        if claim.from_us >= claim.to_us:
            raise InputError("to: it is not after `from`", field="to")
        if claim == _claim(known):
            return Attached(known, changed=False, revision=revision)
        load = await _end_number(conn, id_, "load")
        other = await _overlapping(conn, tenant_id, claim, load, but=id_)
        if other is not None:
            raise _taken(other)
        carrier = await _live(conn, tenant_id, claim.carrier, "carrier.id")
        await _refuse_loops(conn, tenant_id, claim, carrier)
        await conn.execute(
            "UPDATE attachment SET valid_from = %s, valid_to = %s, updated_at = now(), "
            "updated_by = %s WHERE id = %s",
            (*_span(claim), author, id_),
        )
        return await _edited(conn, tenant_id, id_)


async def detach(
    conn: Connection, tenant_id: int, id_: int, *, author: str | None
) -> Attached | None:
    """Take back an attachment that never was; None when there is none."""
    async with conn.transaction():
        await _locked(conn, tenant_id)
        gone = await conn.execute(
            "UPDATE attachment SET removed_at = now(), updated_at = now(), updated_by = %s "
            "WHERE tenant_id = %s AND id = %s AND removed_at IS NULL",
            (author, tenant_id, id_),
        )
        return await _edited(conn, tenant_id, id_) if gone.rowcount else None


async def _locked(conn: Connection, tenant_id: int) -> int:
    await conn.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_LOCK_SPACE, tenant_id))
    found = await conn.execute("SELECT attachment_revision FROM tenant WHERE id = %s", (tenant_id,))
    revision: int = (await found.fetchone() or (0,))[0]
    return revision


async def _live(conn: Connection, tenant_id: int, ref: Ref, field: str) -> int:
    found = await conn.execute(_LIVE[ref.kind].encode(), (tenant_id, ref.id))
    row = await found.fetchone()
    if row is None:
        raise InputError(f"{field}: there is no {ref.kind} {ref.id!r}", field=field)
    number: int = row[0]
    return number


async def _overlapping(
    conn: Connection, tenant_id: int, claim: Claim, load: int, *, but: int = 0
) -> AttachmentView | None:
    """The first claim on the same load, whose number is `load`, at the same time."""
    found = await conn.execute(
        (
            _SELECT + "WHERE a.tenant_id = %s AND a.load_kind = %s AND a.load_number = %s "
            "AND a.id <> %s AND a.removed_at IS NULL "
            "AND tstzrange(a.valid_from, a.valid_to) && tstzrange(%s, %s) "
            "ORDER BY a.valid_from LIMIT 1"
        ).encode(),
        (tenant_id, claim.load.kind, load, but, *_span(claim)),
    )
    row = await found.fetchone()
    return None if row is None else _view(row)


async def _refuse_loops(conn: Connection, tenant_id: int, claim: Claim, carrier: int) -> None:
    if claim.load.kind != "asset":
        return
    above = await claims_above(conn, tenant_id, claim.carrier.kind, [carrier])
    at_us = Custody(above).loop(claim)
    if at_us is not None:
        raise Conflict(
            f"carrier.id: {claim.carrier.id!r} is itself in {claim.load.id!r} at {iso(at_us)}",
            field="carrier.id",
        )


async def _edited(conn: Connection, tenant_id: int, id_: int) -> Attached:
    """Mark the shipments an edit touches, and raise the revision: the last act of an edit."""
    view = await get_attachment(conn, tenant_id, id_)
    assert view is not None  # noqa: S101 -- just written
    # A device moves whatever its carrier carries.
    end = "carrier" if view.load.kind == "device" else "load"
    await conn.execute(
        _TOUCH,
        {
            "tenant_id": tenant_id,
            "kind": getattr(view, end).kind,
            "number": await _end_number(conn, id_, end),
        },
    )
    found = await conn.execute(
        "UPDATE tenant SET attachment_revision = attachment_revision + 1 WHERE id = %s "
        "RETURNING attachment_revision",
        (tenant_id,),
    )
    return Attached(view, changed=True, revision=(await found.fetchone() or (0,))[0])


async def _end_number(conn: Connection, id_: int, end: str) -> int:
    column = sql.Identifier(f"{end}_number")
    query = sql.SQL("SELECT {} FROM attachment WHERE id = %s").format(column)
    found = await conn.execute(query, (id_,))
    number: int = (await found.fetchone() or (0,))[0]
    return number


def _taken(other: AttachmentView) -> Conflict:
    until = "" if other.end is None else f" until {iso(to_us(other.end))}"
    return Conflict(
        f"{other.load.kind} {other.load.id!r} is on {other.carrier.kind} {other.carrier.id!r} "
        f"from {iso(to_us(other.start))}{until} (attachment {other.id}): end that first",
        field="load.id",
    )


def _span(claim: Claim) -> tuple[datetime, datetime | None]:
    return from_us(claim.from_us), None if claim.to_us == FOR_EVER_US else moment(claim.to_us)


def _claim(view: AttachmentView) -> Claim:
    return Claim(
        _ref(view.load), _ref(view.carrier), to_us(view.start),
        FOR_EVER_US if view.end is None else to_us(view.end),
    )  # fmt: skip


def _ref(view: RefView) -> Ref:
    kind: Kind = view.kind  # type: ignore[assignment]  # the column's check
    return Ref(kind, view.id)


def _view(row: tuple[Any, ...]) -> AttachmentView:
    id_, load_kind, load, carrier_kind, carrier, *more = row
    return AttachmentView(id_, RefView(load_kind, load), RefView(carrier_kind, carrier), *more)
