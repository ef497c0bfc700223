"""Pickups as they are kept: requests, attempts, and what the shipment's record makes of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from tracking.errors import Conflict
from tracking.feed import EventRecord
from tracking.pickups import Attempt, PickupKind, PickupStatus, Recurrence
from tracking.shipment_fold import derive
from tracking.shipments import Plan, PlannedWindow
from tracking.store.alerts import Tenant
from tracking.store.asking import rows_where
from tracking.store.connection import Connection
from tracking.store.eventlog import Occurrence, write_events
from tracking.store.rederive import rederive
from tracking.store.shipment_edits import replan
from tracking.store.shipments import (
    get_shipment,
    have_followed,
    insert_shipment,
    lock_shipments,
)
from tracking.times import iso, to_us

_plans = msgspec.json.Decoder(Plan)
_recurrences = msgspec.json.Decoder(Recurrence)
_attempts = msgspec.json.Decoder(list[Attempt])

_STATUS = """CASE
    WHEN p.cancelled_at IS NOT NULL OR s.status = 'cancelled' THEN 'cancelled'
    WHEN p.shipment_number IS NULL THEN 'series'
    WHEN (s.record -> 'stops' -> p.stop ->> 'done')::boolean THEN 'picked_up'
    WHEN (s.record ->> 'at_stop')::integer = p.stop THEN 'at_stop'
    WHEN p.failed_at IS NOT NULL THEN 'failed' ELSE 'scheduled' END"""

_SELECT = f"""
SELECT p.number, p.id, p.kind, p.express, {_STATUS}, p.note, s.id, p.stop, series.id,
    p.recurrence::text, coalesce(s.plan, p.template)::text, p.created_at, p.created_by,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('at', a.at, 'reason', a.reason, 'note', a.note,
        'made_by', a.made_by) ORDER BY a.id), '[]') FROM pickup_attempt a
     WHERE a.pickup_number = p.number)::text
FROM pickup p LEFT JOIN shipment s ON s.number = p.shipment_number
LEFT JOIN pickup series ON series.number = p.series_number"""  # noqa: S608 -- of constants


class Pickup(NamedTuple):
    """A pickup as it is; `plan` is its shipment's, or that of all its series makes."""

    number: int
    id: str
    kind: PickupKind
    express: bool
    status: PickupStatus
    note: str | None
    shipment: str | None
    stop: int
    series: str | None
    recurrence: Recurrence | None
    plan: Plan
    created_at: datetime
    created_by: str | None
    attempts: list[Attempt]


class PickupDraft(NamedTuple):
    """A pickup to be made: with a shipment of its own (`plan`), or a stop of one that is there.

    With a recurrence it is a series, and the plan that of each of its shipments.
    """

    id: str
    kind: PickupKind
    express: bool
    note: str | None
    plan: Plan | None = None
    shipment: str | None = None
    recurrence: Recurrence | None = None


class PickupFilter(NamedTuple):
    """Which pickups; None leaves that question open. `start`, `end` are of planned windows."""

    statuses: tuple[str, ...] | None = None
    kind: str | None = None
    express: bool | None = None
    order_ref: str | None = None
    series: str | None = None
    start: datetime | None = None
    end: datetime | None = None


class EditedPickup(NamedTuple):
    """A pickup after an edit, and what to publish."""

    pickup: Pickup
    records: list[EventRecord]
    fence_revision: int | None = None


async def list_pickups(
    conn: Connection, tenant_id: int, wanted: PickupFilter, *, before: int | None, limit: int
) -> list[Pickup]:
    """The last made first, those numbered below `before`."""
    asked = {
        f"({_STATUS}) = ANY(%(statuses)s)": ("statuses", wanted.statuses),
        "p.kind = %(kind)s": ("kind", wanted.kind),
        "p.express = %(express)s": ("express", wanted.express),
        "s.order_ref = %(order_ref)s": ("order_ref", wanted.order_ref),
        "series.id = %(series)s": ("series", wanted.series),
        "s.planned_to >= %(start)s": ("start", wanted.start),
        "s.planned_from < %(end)s": ("end", wanted.end),
        "p.number < %(before)s": ("before", before),
    }  # fmt: skip
    found = await rows_where(
        conn,
        _SELECT,
        ["p.tenant_id = %(tenant_id)s"],
        asked,
        order="ORDER BY p.number DESC LIMIT %(limit)s",
        values={"tenant_id": tenant_id, "limit": limit},
    )
    return [_pickup(row) for row in found]


async def get_pickup(conn: Connection, tenant_id: int, id_: str) -> Pickup | None:
    """One pickup."""
    found = await conn.execute(
        (_SELECT + " WHERE p.tenant_id = %s AND p.id = %s").encode(), (tenant_id, id_)
    )
    row = await found.fetchone()
    return None if row is None else _pickup(row)


async def create_pickup(
    conn: Connection, tenant: Tenant, draft: PickupDraft, *, author: str | None
) -> EditedPickup | None:
    """Ask for a pickup; None when its id is taken.

    Raises:
        Conflict: there is no such shipment, or it has no stop to pick up at, or its id is taken.
    """
    async with conn.transaction():
        if await get_pickup(conn, tenant.id, draft.id) is not None:
            return None
        number, stop = await _shipment_of(conn, tenant, draft, author)
        series = draft.recurrence
        made = await conn.execute(
            "INSERT INTO pickup (tenant_id, id, kind, express, note, shipment_number, stop, "
            "recurrence, template, due_at, created_by) VALUES (%(tenant_id)s, %(id)s, %(kind)s, "
            "%(express)s, %(note)s, %(shipment)s, %(stop)s, %(recurrence)s::jsonb, "
            "%(template)s::jsonb, CASE WHEN %(recurrence)s IS NOT NULL THEN now() END, "
            "%(author)s) ON CONFLICT (tenant_id, id) DO NOTHING",
            {
                "tenant_id": tenant.id,
                "id": draft.id,
                "kind": draft.kind,
                "express": draft.express,
                "note": draft.note,
                "shipment": number,
                "stop": stop,
                "recurrence": None if series is None else msgspec.json.encode(series).decode(),
                "template": None if series is None else msgspec.json.encode(draft.plan).decode(),
                "author": author,
            },
        )
        if not made.rowcount:
            # Somebody else was faster; their transaction is over by now.
            raise Conflict(f"pickup {draft.id!r} is there already", field="id")
        await have_followed(conn, tenant.id)
        return await _edited(conn, tenant, draft.id, [number] if number is not None else [])


async def reschedule_pickup(
    conn: Connection, tenant: Tenant, id_: str, window: PlannedWindow, *, author: str | None
) -> EditedPickup | None:
    """Plan a pickup for another time; None when there is none.

    Raises:
        Conflict: it is a series, or over.
    """
    async with conn.transaction():
        pickup = await _open(conn, tenant.id, id_)
        if pickup is None:
            return None
        if pickup.plan.stops[pickup.stop].window == window and pickup.status != "failed":
            # It is planned so: somebody asks again whose answer was lost.
            return EditedPickup(pickup, [])
        number, replanned = await _replan(conn, tenant, pickup, window, author)
        await conn.execute("UPDATE pickup SET failed_at = NULL WHERE number = %s", (pickup.number,))
        told = _event(tenant, pickup, "pickup.rescheduled", await _now(conn), window)
        return await _edited(conn, tenant, id_, [number], [replanned, told])


async def note_attempt(
    conn: Connection,
    tenant: Tenant,
    id_: str,
    attempt: Attempt,
    window: PlannedWindow | None,
) -> EditedPickup | None:
    """Note that somebody came in vain, and for when it is planned again; None: no such pickup.

    Raises:
        Conflict: it is a series, or over.
    """
    async with conn.transaction():
        pickup = await _open(conn, tenant.id, id_)
        if pickup is None:
            return None
        await conn.execute(
            "INSERT INTO pickup_attempt (tenant_id, pickup_number, at, reason, note, made_by) "
            "SELECT %(tenant_id)s, %(number)s, %(at)s, %(reason)s, %(note)s, %(by)s "
            # The very same again is one.
            "WHERE NOT EXISTS (SELECT FROM pickup_attempt WHERE pickup_number = %(number)s "
            "AND at = %(at)s AND reason = %(reason)s)",
            {
                "tenant_id": tenant.id, "number": pickup.number, "at": attempt.at,
                "reason": attempt.reason, "note": attempt.note, "by": attempt.made_by,
            },
        )  # fmt: skip
        await conn.execute(
            "UPDATE pickup SET failed_at = %s WHERE number = %s",
            (attempt.at if window is None else None, pickup.number),
        )
        numbers: list[int] = []
        told = [
            _event(tenant, pickup, "pickup.attempted", attempt.at, window, reason=attempt.reason)
        ]
        if window is not None:
            number, replanned = await _replan(conn, tenant, pickup, window, attempt.made_by)
            numbers, told = [number], [replanned, *told]
        return await _edited(conn, tenant, id_, numbers, told)


async def cancel_pickup(
    conn: Connection, tenant: Tenant, id_: str, *, author: str | None
) -> EditedPickup | None:
    """Call a pickup or a series off; what a series has made stays. None when there is none.

    The shipment is another matter: it may have other stops, and is cancelled by itself.

    Raises:
        Conflict: it was picked up.
    """
    async with conn.transaction():
        pickup = await get_pickup(conn, tenant.id, id_)
        if pickup is None:
            return None
        if pickup.status == "picked_up":
            raise Conflict(f"pickup {id_!r} was picked up already")
        await conn.execute(
            "UPDATE pickup SET cancelled_at = coalesce(cancelled_at, now()), cancelled_by = "
            "coalesce(cancelled_by, %s), due_at = NULL WHERE number = %s",
            (author, pickup.number),
        )
        told = []
        if pickup.status != "cancelled":
            told = [_event(tenant, pickup, "pickup.cancelled", await _now(conn), None)]
        return await _edited(conn, tenant, id_, [], told)


async def _shipment_of(
    conn: Connection, tenant: Tenant, draft: PickupDraft, author: str | None
) -> tuple[int | None, int]:
    """The number of the shipment and its stop at which the pickup is; a new one's if need be."""
    if draft.recurrence is not None:
        return None, 0
    if draft.shipment is not None:
        stored = await get_shipment(conn, tenant.id, draft.shipment)
        stops = [] if stored is None else stored.plan.stops
        at = next((i for i, stop in enumerate(stops) if stop.kind == "pickup"), None)
        if stored is None or at is None:
            raise Conflict(
                f"shipment: there is no {draft.shipment!r} with a stop to pick up at",
                field="shipment",
            )
        return stored.number, at
    assert draft.plan is not None  # noqa: S101 -- one of the three
    now_us = to_us(await _now(conn))
    record = derive(draft.plan, now_us, [], [], overrides=[], now_us=now_us).record
    number = await insert_shipment(conn, tenant.id, draft.plan, record, author=author)
    if number is None:
        raise Conflict(f"id: shipment {draft.plan.id!r} is there already", field="id")
    return number, 0


async def _open(conn: Connection, tenant_id: int, id_: str) -> Pickup | None:
    """A pickup that is still to be made, held until the commit."""
    await conn.execute(
        "SELECT 1 FROM pickup WHERE tenant_id = %s AND id = %s FOR UPDATE", (tenant_id, id_)
    )
    pickup = await get_pickup(conn, tenant_id, id_)
    if pickup is not None and pickup.status in {"series", "picked_up", "cancelled"}:
        state = {"series": "is a series", "picked_up": "was picked up"}
        raise Conflict(f"pickup {id_!r} {state.get(pickup.status, 'was cancelled')}")
    return pickup


async def _replan(
    conn: Connection, tenant: Tenant, pickup: Pickup, window: PlannedWindow, author: str | None
) -> tuple[int, Occurrence]:
    """Write the stop's new window into the shipment's plan; its number, and what tells of it."""
    stored = await get_shipment(conn, tenant.id, pickup.shipment or "")
    assert stored is not None  # noqa: S101 -- a shipment is never deleted
    [stored] = await lock_shipments(conn, tenant.id, [stored.number])
    stops = list(stored.plan.stops)
    stops[pickup.stop] = msgspec.structs.replace(stops[pickup.stop], window=window)
    plan = msgspec.structs.replace(stored.plan, stops=tuple(stops))
    return stored.number, await replan(conn, tenant, stored.number, plan, author=author)


async def _edited(
    conn: Connection,
    tenant: Tenant,
    id_: str,
    shipments: Sequence[int],
    told: Sequence[Occurrence] = (),
) -> EditedPickup:
    done = await rederive(conn, tenant, shipments)
    records = done.records + await write_events(conn, told)
    pickup = await get_pickup(conn, tenant.id, id_)
    assert pickup is not None  # noqa: S101 -- just edited
    return EditedPickup(pickup, records, done.fence_revision)


def _event(
    tenant: Tenant,
    pickup: Pickup,
    type_: str,
    at: datetime,
    window: PlannedWindow | None,
    **more: object,
) -> Occurrence:
    start, end = (None, None) if window is None else (window.start, window.end)
    data: dict[str, Any] = {
        "pickup": pickup.id,
        "shipment": pickup.shipment,
        "order_ref": pickup.plan.order_ref,
        "planned_from": None if start is None else iso(to_us(start)),
        "planned_until": None if end is None else iso(to_us(end)),
        **more,
    }
    subject = f"pickup/{pickup.id}"
    return Occurrence(tenant.name, tenant.id, subject, type_, to_us(at), data)


async def _now(conn: Connection) -> datetime:
    found = await conn.execute("SELECT now()")
    row = await found.fetchone()
    assert row is not None  # noqa: S101
    now: datetime = row[0]
    return now


def _pickup(row: tuple[Any, ...]) -> Pickup:
    recurrence, plan, *made, attempts = row[9:]
    rule = None if recurrence is None else _recurrences.decode(recurrence)
    members = (*row[:9], rule, _plans.decode(plan), *made, _attempts.decode(attempts))
    return Pickup(*members)
