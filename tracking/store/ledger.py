"""Reading the ledger: what became of everything each device sent."""

import msgspec

from tracking.store.connection import Connection


class LedgerRow(msgspec.Struct, frozen=True):
    """The account of one device: `received` is the sum of stored, duplicate and conflict.

    `late` is a part of stored. `reasons` counts reject reasons of its messages and the quality
    codes, other than ok, of its stored fixes. A device may be known by its rejects alone.
    """

    device: str
    received: int
    stored: int
    duplicate: int
    conflict: int
    late: int
    missing_seq: int
    reasons: dict[str, int]


class LedgerTotals(msgspec.Struct, frozen=True):
    """The same numbers over all devices of the tenant."""

    devices: int
    received: int
    stored: int
    duplicate: int
    conflict: int
    late: int
    missing_seq: int
    reasons: dict[str, int]


_ROWS = """
WITH known AS (
    SELECT d.name, s.received, s.stored, s.duplicate, s.conflict, s.late, s.missing_seq
    FROM device d LEFT JOIN device_state s ON s.device_id = d.id
    WHERE d.tenant_id = %(tenant_id)s AND (%(only)s::text IS NULL OR d.name = %(only)s)
), reasons AS (
    SELECT device AS name, jsonb_object_agg(reason, n) AS reasons FROM ledger_reason
    WHERE tenant_id = %(tenant_id)s AND (%(only)s::text IS NULL OR device = %(only)s)
    GROUP BY device
)
SELECT name, coalesce(received, 0), coalesce(stored, 0), coalesce(duplicate, 0),
       coalesce(conflict, 0), coalesce(late, 0), coalesce(missing_seq, 0),
       coalesce(reasons, '{}'::jsonb)
FROM known FULL JOIN reasons USING (name)
WHERE %(after)s::text IS NULL OR name > %(after)s
ORDER BY name LIMIT %(limit)s
"""

_TOTALS = """
SELECT count(*), coalesce(sum(received), 0)::bigint, coalesce(sum(stored), 0)::bigint,
       coalesce(sum(duplicate), 0)::bigint, coalesce(sum(conflict), 0)::bigint,
       coalesce(sum(late), 0)::bigint, coalesce(sum(missing_seq), 0)::bigint,
       coalesce((SELECT jsonb_object_agg(reason, n) FROM (
           SELECT reason, sum(n)::bigint AS n FROM ledger_reason WHERE tenant_id = %(tenant_id)s
           GROUP BY reason) r), '{}'::jsonb)
FROM device d LEFT JOIN device_state s ON s.device_id = d.id WHERE d.tenant_id = %(tenant_id)s
"""


async def list_ledger(
    conn: Connection, tenant_id: int, *, device: str | None, after: str | None, limit: int
) -> list[LedgerRow]:
    """Accounts by device name, those behind the name `after`; only one device's if named."""
    cursor = await conn.execute(
        _ROWS, {"tenant_id": tenant_id, "only": device, "after": after, "limit": limit}
    )
    return [LedgerRow(*row) async for row in cursor]


async def ledger_totals(conn: Connection, tenant_id: int) -> LedgerTotals:
    """The account of the whole tenant."""
    cursor = await conn.execute(_TOTALS, {"tenant_id": tenant_id})
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 -- an aggregate always has one row
    return LedgerTotals(*row)
