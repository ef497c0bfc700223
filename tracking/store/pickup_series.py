"""Series of pickups: the next ones made before their time."""

from datetime import date, datetime

import msgspec

from tracking.pickups import Recurrence, due
from tracking.shipment_fold import derive
from tracking.shipments import Plan
from tracking.store.alerts import Tenant
from tracking.store.connection import Connection
from tracking.store.shipments import insert_shipment
from tracking.times import to_us

_recurrences = msgspec.json.Decoder(Recurrence)
_plans = msgspec.json.Decoder(Plan)

_DUE = """
SELECT number, id, express, note, recurrence::text, template::text, created_at, created_by,
    clock_timestamp()
FROM pickup WHERE tenant_id = %s AND due_at <= now() ORDER BY number LIMIT 20 FOR UPDATE
"""


async def make_due_pickups(conn: Connection, tenant: Tenant) -> None:
    """Make the pickups of every series that are to be there by now, with their shipments.

    One that is there stays as it is, so a day that was cancelled is not made again.
    """
    found = await conn.execute(_DUE, (tenant.id,))
    for (
        number,
        id_,
        express,
        note,
        recurrence,
        template,
        since,
        author,
        now,
    ) in await found.fetchall():
        rule, plan = _recurrences.decode(recurrence), _plans.decode(template)
        wanted = due(rule, since, now)
        for day in wanted.days:
            made = await _make(conn, tenant, _of_day(plan, id_, rule, day), now, author)
            if made is not None:
                await conn.execute(
                    "INSERT INTO pickup (tenant_id, id, kind, express, note, shipment_number, "
                    "series_number, created_by) VALUES (%s, %s, 'scheduled', %s, %s, %s, %s, %s) "
                    "ON CONFLICT DO NOTHING",
                    (tenant.id, f"{id_}-{day:%Y%m%d}", express, note, made, number, author),
                )
        await conn.execute(
            "UPDATE pickup SET due_at = %s WHERE number = %s", (wanted.again_at, number)
        )


def _of_day(plan: Plan, series: str, rule: Recurrence, day: date) -> Plan:
    stop = msgspec.structs.replace(plan.stops[0], window=rule.window(day))
    return msgspec.structs.replace(plan, id=f"{series}-{day:%Y%m%d}", stops=(stop, *plan.stops[1:]))


async def _make(
    conn: Connection, tenant: Tenant, plan: Plan, now: datetime, author: str | None
) -> int | None:
    now_us = to_us(now)
    record = derive(plan, now_us, [], [], overrides=[], now_us=now_us).record
    return await insert_shipment(conn, tenant.id, plan, record, author=author)
