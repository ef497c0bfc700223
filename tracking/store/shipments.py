"""Shipments as they are kept: plans that people write, records that are derived."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from tracking.estimates import Estimate
from tracking.route.follow import Progress
from tracking.shipments import Override, Plan, Proof, Record
from tracking.store.asking import rows_where
from tracking.store.connection import Connection

_plans = msgspec.json.Decoder(Plan)
_records = msgspec.json.Decoder(Record)
_progress = msgspec.json.Decoder(Progress | None)
_estimates = msgspec.json.Decoder(Estimate)
_proofs = msgspec.json.Decoder(Proof | None)

_COLUMNS = (
    "s.number, s.version, s.created_at, s.updated_at, s.updated_by, s.fence_serial, s.plan::text, "
    "s.record::text, "
    "(SELECT r.progress::text FROM shipment_route r WHERE r.shipment_number = s.number), "
    "(SELECT e.estimate::text FROM shipment_eta e WHERE e.shipment_number = s.number "
    "AND e.device_id IS NOT NULL)"
)
_OVERRIDE = "o.id, o.act, o.at, o.stop, o.note, o.proof::text, o.made_by, o.made_at, o.withdrawn_at"

_REACHED = (
    "EXISTS (SELECT FROM jsonb_array_elements(s.record -> 'stops') b "
    "WHERE (b ->> 'arrived_at')::timestamptz {})"
)


class StoredShipment(NamedTuple):
    """A shipment: its number in the database, its plan's version, and what became of it."""

    number: int
    version: int
    created_at: datetime
    updated_at: datetime
    updated_by: str | None
    fence_serial: int
    plan: Plan
    record: Record
    progress: Progress | None = None  # along its route, if it has one
    estimate: Estimate | None = None  # while somebody carries it


class ShipmentFilter(NamedTuple):
    """Which shipments; None leaves that question open. `party` is who may see them.

    `start` and `end` are [start, end) of planned windows that any stop has; `carrier` an asset
    that carries it now, `device` one that ever did. `reached_from` and `reached_until` are
    [from, until) of when any stop was reached first.
    """

    party: str | None = None
    prefix: str | None = None  # of the id
    statuses: tuple[str, ...] | None = None
    order_ref: str | None = None
    of_party: str | None = None
    carrier: str | None = None
    device: str | None = None
    delayed: bool | None = None
    exceptions: tuple[str, ...] | None = None  # any of these
    start: datetime | None = None
    end: datetime | None = None
    reached_from: datetime | None = None
    reached_until: datetime | None = None


async def list_shipments(
    conn: Connection, tenant_id: int, wanted: ShipmentFilter, *, before: int | None, limit: int
) -> list[StoredShipment]:
    """The last made first, those numbered below `before`."""
    asked = {
        "%(party)s = ANY(s.parties)": ("party", wanted.party),
        "starts_with(s.id, %(prefix)s)": ("prefix", wanted.prefix),
        "s.parties @> ARRAY[%(of_party)s]": ("of_party", wanted.of_party),
        "s.status = ANY(%(statuses)s)": ("statuses", wanted.statuses),
        "s.order_ref = %(order_ref)s": ("order_ref", wanted.order_ref),
        "(s.record -> 'exceptions') ? 'delayed' = %(delayed)s": ("delayed", wanted.delayed),
        "((s.record -> 'exceptions') ?| %(exceptions)s OR 'at_risk' = ANY(%(exceptions)s) "
        "AND EXISTS (SELECT FROM shipment_eta e WHERE e.shipment_number = s.number "
        "AND e.device_id IS NOT NULL AND e.estimate -> 'at_risk' <> '[]'))": (
            "exceptions", wanted.exceptions,
        ),
        "EXISTS (SELECT FROM attachment a JOIN asset c ON c.number = a.carrier_number "
        "WHERE a.load_kind = 'shipment' AND a.load_number = s.number AND a.carrier_kind = 'asset' "
        "AND a.removed_at IS NULL AND tstzrange(a.valid_from, a.valid_to) @> now() "
        "AND c.id = %(carrier)s)": ("carrier", wanted.carrier),
        "s.devices @> ARRAY(SELECT id FROM device WHERE tenant_id = s.tenant_id "
        "AND name = %(device)s) AND EXISTS (SELECT FROM device WHERE tenant_id = s.tenant_id "
        "AND name = %(device)s)": ("device", wanted.device),
        "s.planned_to >= %(start)s": ("start", wanted.start),
        "s.planned_from < %(end)s": ("end", wanted.end),
        _REACHED.format(">= %(reached_from)s"): ("reached_from", wanted.reached_from),
        _REACHED.format("< %(reached_until)s"): ("reached_until", wanted.reached_until),
        "s.number < %(before)s": ("before", before),
    }  # fmt: skip
    found = await rows_where(
        conn,
        f"SELECT {_COLUMNS} FROM shipment s",  # noqa: S608 -- of constants
        ["s.tenant_id = %(tenant_id)s"],
        asked,
        order="ORDER BY s.number DESC LIMIT %(limit)s",
        values={"tenant_id": tenant_id, "limit": limit},
    )
    return [_stored(row) for row in found]


async def get_shipment(
    conn: Connection, tenant_id: int, id_: str, *, party: str | None = None
) -> StoredShipment | None:
    """One shipment, if whoever asks may see it."""
    found = await conn.execute(
        f"SELECT {_COLUMNS} FROM shipment s WHERE s.tenant_id = %(tenant_id)s "  # noqa: S608
        "AND s.id = %(id)s AND (%(party)s::text IS NULL OR %(party)s = ANY(s.parties))",
        {"tenant_id": tenant_id, "id": id_, "party": party},
    )
    row = await found.fetchone()
    return None if row is None else _stored(row)


async def lock_shipments(
    conn: Connection, tenant_id: int, numbers: Sequence[int]
) -> list[StoredShipment]:
    """Shipments by number, which nobody else changes until the commit."""
    found = await conn.execute(
        f"SELECT {_COLUMNS} FROM shipment s WHERE s.tenant_id = %s "  # noqa: S608 -- as above
        "AND s.number = ANY(%s) ORDER BY s.number FOR UPDATE",
        (tenant_id, list(numbers)),
    )
    return [_stored(row) async for row in found]


async def insert_shipment(
    conn: Connection, tenant_id: int, plan: Plan, record: Record, *, author: str | None
) -> int | None:
    """Write a new shipment; its number, or None when its id is taken."""
    made = await conn.execute(
        "INSERT INTO shipment (tenant_id, id, updated_by, plan, order_ref, parties, planned_from, "
        "planned_to, record) VALUES (%(tenant_id)s, %(id)s, %(author)s, %(plan)s::jsonb, "
        "%(order_ref)s, %(parties)s, %(start)s, %(end)s, %(record)s::jsonb) "
        "ON CONFLICT (tenant_id, id) DO NOTHING RETURNING number",
        {
            **_plan_columns(plan),
            "tenant_id": tenant_id,
            "id": plan.id,
            "author": author,
            "record": msgspec.json.encode(record).decode(),
        },
    )
    row = await made.fetchone()
    if row is None:
        return None
    await have_followed(conn, tenant_id)
    number: int = row[0]
    return number


async def have_followed(conn: Connection, tenant_id: int) -> None:
    """Have the follower look at a tenant; those without shipments cost it nothing."""
    await conn.execute(
        "INSERT INTO shipment_cursor (tenant_id, cursor) SELECT id, feed_cursor FROM tenant "
        "WHERE id = %s ON CONFLICT DO NOTHING",
        (tenant_id,),
    )


async def update_plan(
    conn: Connection, number: int, plan: Plan, *, author: str | None
) -> tuple[int, datetime]:
    """Write the next version of a plan; which that is, and since when."""
    done = await conn.execute(
        "UPDATE shipment SET plan = %(plan)s::jsonb, order_ref = %(order_ref)s, "
        "parties = %(parties)s, planned_from = %(start)s, planned_to = %(end)s, "
        "version = version + 1, updated_at = now(), updated_by = %(author)s "
        "WHERE number = %(number)s RETURNING version, updated_at",
        {**_plan_columns(plan), "number": number, "author": author},
    )
    row: tuple[int, datetime] | None = await done.fetchone()
    assert row is not None  # noqa: S101 -- a shipment is never deleted
    return row


async def add_override(conn: Connection, tenant_id: int, number: int, said: Override) -> None:
    """Note what somebody says happened. Saying the very same again changes nothing."""
    await conn.execute(
        "INSERT INTO shipment_override (shipment_number, tenant_id, act, stop, at, note, proof, "
        "made_by) SELECT %(number)s, %(tenant_id)s, %(act)s, %(stop)s, %(at)s, %(note)s, "
        "%(proof)s::jsonb, %(by)s WHERE NOT EXISTS (SELECT FROM shipment_override o "
        "WHERE o.shipment_number = %(number)s AND o.act = %(act)s AND o.at = %(at)s "
        "AND o.stop IS NOT DISTINCT FROM %(stop)s::integer AND o.withdrawn_at IS NULL)",
        {
            "number": number,
            "tenant_id": tenant_id,
            "act": said.act,
            "stop": said.stop,
            "at": said.at,
            "note": said.note,
            "proof": None if said.proof is None else msgspec.json.encode(said.proof).decode(),
            "by": said.made_by,
        },
    )


async def withdraw_override(
    conn: Connection, number: int, override_id: int, *, author: str | None
) -> bool:
    """Take back what somebody said; it stays in the list. False when there is nothing to."""
    done = await conn.execute(
        "UPDATE shipment_override SET withdrawn_at = now(), withdrawn_by = %s "
        "WHERE shipment_number = %s AND id = %s AND withdrawn_at IS NULL",
        (author, number, override_id),
    )
    return bool(done.rowcount)


async def overrides_of(conn: Connection, numbers: Sequence[int]) -> dict[int, list[Override]]:
    """What people said of these shipments, in the order they said it, withdrawn ones too."""
    found = await conn.execute(
        f"SELECT o.shipment_number, {_OVERRIDE} FROM shipment_override o "  # noqa: S608 -- as above
        "WHERE o.shipment_number = ANY(%s) ORDER BY o.id",
        (list(numbers),),
    )
    said: dict[int, list[Override]] = {number: [] for number in numbers}
    async for number, *row in found:
        said[number].append(_override(row))
    return said


def _override(row: Sequence[Any]) -> Override:
    id_, act, at, stop, note, proof, by, made_at, withdrawn_at = row
    return Override(
        id_, act, at, stop, note, None if proof is None else _proofs.decode(proof),
        by, made_at, withdrawn_at,
    )  # fmt: skip


def _plan_columns(plan: Plan) -> dict[str, object]:
    windows = [stop.window for stop in plan.stops if stop.window is not None]
    edges = [edge for window in windows for edge in (window.start, window.end) if edge is not None]
    return {
        "plan": msgspec.json.encode(plan).decode(),
        "order_ref": plan.order_ref,
        "parties": plan.names(),
        "start": min(edges, default=None),
        "end": max(edges, default=None),
    }


def _stored(row: tuple[Any, ...]) -> StoredShipment:
    number, version, created_at, updated_at, updated_by, serial, plan, record, *derived = row
    progress, estimate = derived
    return StoredShipment(
        number, version, created_at, updated_at, updated_by, serial,
        _plans.decode(plan), _records.decode(record),
        progress_of(progress), estimate_of(estimate),
    )  # fmt: skip


def progress_of(stored: str | None) -> Progress | None:
    """How far along its route it is, as it is kept."""
    return None if stored is None else _progress.decode(stored)


def estimate_of(stored: str | None) -> Estimate | None:
    """An estimate as it is kept; one that another version of this program made is none."""
    try:
        return None if stored is None else _estimates.decode(stored)
    except msgspec.ValidationError:
        return None
