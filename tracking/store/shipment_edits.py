"""Editing shipments: whatever people change, the record follows in the same transaction."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from tracking.errors import Conflict
from tracking.feed import EventRecord
from tracking.shipment_fold import derive
from tracking.shipments import Override, Plan
from tracking.store.alerts import Tenant
from tracking.store.connection import Connection
from tracking.store.eta_forecasts import forget_moved_stops
from tracking.store.eventlog import Occurrence, write_events
from tracking.store.rederive import rederive
from tracking.store.shipments import (
    StoredShipment,
    add_override,
    get_shipment,
    insert_shipment,
    lock_shipments,
    update_plan,
    withdraw_override,
)
from tracking.times import to_us


class Edited(NamedTuple):
    """A shipment after an edit, what to publish, and the fences' revision if it moved."""

    shipment: StoredShipment
    records: list[EventRecord]
    fence_revision: int | None


async def create_shipment(
    conn: Connection, tenant: Tenant, plan: Plan, *, author: str | None
) -> Edited | None:
    """Make a shipment; None when its id is taken."""
    async with conn.transaction():
        found = await conn.execute("SELECT now()")
        now_us = to_us((await found.fetchone() or (None,))[0])
        record = derive(plan, now_us, [], [], overrides=[], now_us=now_us).record
        number = await insert_shipment(conn, tenant.id, plan, record, author=author)
        if number is None:
            return None
        return await _edited(conn, tenant, plan.id, number)


async def edit_shipment(
    conn: Connection,
    tenant: Tenant,
    id_: str,
    change: Callable[[Plan], Plan],
    *,
    author: str | None,
    only_over: Sequence[int] | None = None,
) -> Edited | None:
    """Change a plan; None when there is none in one of the versions `only_over`.

    Raises:
        InputError: the changed plan means nothing, as `change` has it.
    """
    async with conn.transaction():
        stored = await _locked(conn, tenant.id, id_)
        if stored is None or (only_over is not None and stored.version not in only_over):
            return None
        plan = change(stored.plan)
        told = []
        if _said(plan) != _said(stored.plan):
            told = [await replan(conn, tenant, stored.number, plan, author=author)]
        return await _edited(conn, tenant, id_, stored.number, told)


async def replan(
    conn: Connection, tenant: Tenant, number: int, plan: Plan, *, author: str | None
) -> Occurrence:
    """Write the next version of a plan; the event that tells of it is the caller's to write.

    What is derived of the plan need not change with it, and who keeps a copy hears of it so.
    """
    await forget_moved_stops(conn, number, plan)
    version, at = await update_plan(conn, number, plan, author=author)
    data = {"shipment": plan.id, "order_ref": plan.order_ref, "version": version, "by": author}
    return Occurrence(
        tenant.name, tenant.id, plan.subject, "shipment.replanned", to_us(at), data,
        rule=f"version:{version}",
    )  # fmt: skip


async def say(conn: Connection, tenant: Tenant, id_: str, said: Override) -> Edited | None:
    """Note what somebody says happened to a shipment; None when there is none.

    Raises:
        Conflict: it was cancelled; withdraw that first.
    """
    async with conn.transaction():
        stored = await _locked(conn, tenant.id, id_)
        if stored is None:
            return None
        if stored.record.status == "cancelled" and said.act != "cancelled":
            raise Conflict(f"shipment {id_!r} was cancelled: withdraw that override first")
        if stored.record.status == "delivered" and said.act == "cancelled":
            raise Conflict(f"shipment {id_!r} was delivered already")
        if not (stored.record.final and said.act == stored.record.status == "cancelled"):
            await add_override(conn, tenant.id, stored.number, said)
        return await _edited(conn, tenant, id_, stored.number)


async def unsay(
    conn: Connection, tenant: Tenant, id_: str, override_id: int, *, author: str | None
) -> Edited | None:
    """Withdraw what somebody said; None when nothing of the kind was."""
    async with conn.transaction():
        stored = await _locked(conn, tenant.id, id_)
        if stored is None or not await withdraw_override(
            conn, stored.number, override_id, author=author
        ):
            return None
        return await _edited(conn, tenant, id_, stored.number)


def _said(plan: Plan) -> object:
    """What a plan says: `attrs` are raw, and the database spaces them its own way."""
    return msgspec.json.decode(msgspec.json.encode(plan))


async def _locked(conn: Connection, tenant_id: int, id_: str) -> StoredShipment | None:
    stored = await get_shipment(conn, tenant_id, id_)
    if stored is None:
        return None
    # Read again under the lock: somebody may have changed it since.
    return next(iter(await lock_shipments(conn, tenant_id, [stored.number])), None)


async def _edited(
    conn: Connection, tenant: Tenant, id_: str, number: int, told: Sequence[Occurrence] = ()
) -> Edited:
    done = await rederive(conn, tenant, [number])
    records = done.records + await write_events(conn, told)
    stored = await get_shipment(conn, tenant.id, id_)
    assert stored is not None  # noqa: S101 -- locked
    return Edited(stored, records, done.fence_revision)
